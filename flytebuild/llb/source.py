"""Sources: where a file system comes from."""

from __future__ import annotations

from flytebuild.buildkit._pb import ops_pb2
from flytebuild.llb.state import State, Vertex
from flytebuild.spec.images import Platform


def image(reference: str, platform: Platform, *, name: str) -> State:
    """The root file system of an image. `reference` is in full form, best pinned by digest."""
    operation = ops_pb2.Op(source=ops_pb2.SourceOp(identifier=f"docker-image://{reference}"))
    return State(Vertex(operation, (), platform, name))


def local(digest: str, *, name: str) -> State:
    """A tree of the client's, which the session must serve as `local_name(digest)`; `digest` is the tree's, in hex.

    Files come with made up times; copy them out of it with a fixed one. BuildKit keeps what it was sent under the
    source's name and the shared key, and takes it for the base of the next transfer: as both follow from the content,
    no other content is ever behind them. No path of this machine and no session is named, so that equal trees are
    equal vertices everywhere.
    """
    label = local_name(digest)
    attrs = {"local.sharedkeyhint": label}
    operation = ops_pb2.Op(source=ops_pb2.SourceOp(identifier=f"local://{label}", attrs=attrs))
    return State(Vertex(operation, (), None, name))


def local_name(digest: str) -> str:
    """What a tree's source is called between BuildKit and the session: 128 bits of its digest."""
    if len(digest) < 32:
        raise ValueError(f"`{digest}` is too short for a digest")
    return f"tree-{digest[:32]}"
