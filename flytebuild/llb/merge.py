"""Layers as values: states on top of each other.

Nothing is unpacked: BuildKit puts the layers that it has, or only knows of, into another order.
"""

from __future__ import annotations

from collections.abc import Sequence

from flytebuild.buildkit._pb import ops_pb2
from flytebuild.llb.state import State, Vertex


def merge(states: Sequence[State], *, name: str) -> State:
    """All states on top of each other, the last one uppermost."""
    inputs = [ops_pb2.MergeInput(input=number) for number in range(len(states))]
    return State(Vertex(ops_pb2.Op(merge=ops_pb2.MergeOp(inputs=inputs)), tuple(states), None, name))
