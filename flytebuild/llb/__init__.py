"""LLB as values: immutable states that operations turn into new states, marshalled to BuildKit's graph.

Construct with `image`, `run` and `copy`; nothing happens until `marshal`. After BuildKit's own `client/llb`.
"""
