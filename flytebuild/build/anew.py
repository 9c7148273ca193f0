"""Solves that take nothing from what the builder remembers."""

from __future__ import annotations

from msgspec.structs import replace

from flytebuild.buildkit._pb import ops_pb2
from flytebuild.buildkit.frontend import Frontend


def executed_anew(work: ops_pb2.Definition | Frontend) -> ops_pb2.Definition | Frontend:
    """The same work, with every step executed whether there is a result of it or not; what comes of it is kept."""
    if isinstance(work, Frontend):
        return replace(work, attrs={**work.attrs, "no-cache": ""})
    definition = ops_pb2.Definition()
    definition.CopyFrom(work)
    for metadata in definition.metadata.values():
        metadata.ignore_cache = True
    return definition
