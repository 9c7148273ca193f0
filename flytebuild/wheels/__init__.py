"""Packages of Python as wheels: which ones layers come to, kept in `flytebuild.lock`, and how images share them.

Pure: `arguments`, `questions`, `lock`, `moved`, `tags`, `partition`. To the outside: `uv` and `resolver` decide
versions like sequential installs, `metadata` reads wheels on indexes, `base` what a base image has installed, `staging`
requirements files, and `lockfile` is the file.
"""
