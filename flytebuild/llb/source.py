"""Sources: where a file system comes from."""

from __future__ import annotations

from flytebuild.buildkit._pb import ops_pb2
from flytebuild.llb.state import State, Vertex
from flytebuild.spec.model import Platform


def image(reference: str, platform: Platform, *, name: str) -> State:
    """The root file system of an image. `reference` is in full form, best pinned by digest."""
    operation = ops_pb2.Op(source=ops_pb2.SourceOp(identifier=f"docker-image://{reference}"))
    return State(Vertex(operation, (), platform, name))
