"""States: one output of one vertex, with everything below it."""

from __future__ import annotations

from dataclasses import dataclass, field

from flytebuild.buildkit._pb import ops_pb2
from flytebuild.spec.images import Platform


@dataclass(frozen=True)
class Vertex:
    """One operation. Two vertices are the same when their bytes are, which their digest says.

    `name` is what a person reads; it is metadata and changes no digest.
    """

    operation: ops_pb2.Op
    inputs: tuple[State, ...]
    platform: Platform | None
    name: str
    digest: str = field(init=False)
    encoded: bytes = field(init=False)

    def __post_init__(self) -> None:
        from flytebuild.llb.marshal import encode

        encoded, digest = encode(self)
        object.__setattr__(self, "encoded", encoded)
        object.__setattr__(self, "digest", digest)


@dataclass(frozen=True)
class State:
    """A file system: output `index` of a vertex. Passed to further operations, never changed."""

    vertex: Vertex
    index: int = 0

    def __hash__(self) -> int:
        return hash((self.vertex.digest, self.index))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, State) and (self.vertex.digest, self.index) == (other.vertex.digest, other.index)
