"""From states to the bytes that BuildKit solves.

A vertex's digest is the SHA-256 of its bytes, so the bytes must be the same everywhere. BuildKit marshals a vertex
again on its side with the operation's own field last; we write the same order, or the digests in its progress and
its errors would not be ours (solver/llbsolver/vertex.go).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from flytebuild.buildkit._pb import ops_pb2

if TYPE_CHECKING:
    from flytebuild.llb.state import State, Vertex


def encode(vertex: Vertex) -> tuple[bytes, str]:
    """The bytes of one vertex and their digest (`sha256:…`)."""
    frame = ops_pb2.Op(inputs=[ops_pb2.Input(digest=state.vertex.digest, index=state.index) for state in vertex.inputs])
    if vertex.platform:
        frame.platform.architecture = vertex.platform.architecture
        frame.platform.os = vertex.platform.os
        frame.platform.variant = vertex.platform.variant
    encoded = frame.SerializeToString(deterministic=True) + vertex.operation.SerializeToString(deterministic=True)
    return encoded, "sha256:" + hashlib.sha256(encoded).hexdigest()


def in_order(state: State) -> Iterator[Vertex]:
    """Every vertex that `state` is made of once, inputs first."""
    done: set[str] = set()
    pending: list[tuple[Vertex, bool]] = [(state.vertex, False)]
    while pending:
        vertex, inputs_done = pending.pop()
        if vertex.digest in done:
            continue
        if not inputs_done:
            pending.append((vertex, True))
            pending.extend((item.vertex, False) for item in reversed(vertex.inputs))
            continue
        done.add(vertex.digest)
        yield vertex


def marshal(state: State) -> ops_pb2.Definition:
    """The graph that ends in `state`: every vertex, then the marker of the result."""
    definition = ops_pb2.Definition()
    for vertex in in_order(state):
        definition.ops.append(vertex.encoded)
        definition.metadata[vertex.digest].description["llb.customname"] = vertex.name
    result = ops_pb2.Op(inputs=[ops_pb2.Input(digest=state.vertex.digest, index=state.index)])
    definition.ops.append(result.SerializeToString(deterministic=True))
    return definition
