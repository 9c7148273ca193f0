"""Laying file systems over each other, without unpacking any of them."""

from __future__ import annotations

from collections.abc import Sequence

from flytebuild.buildkit._pb import ops_pb2
from flytebuild.llb.state import State, Vertex


def merge(states: Sequence[State], *, name: str) -> State:
    """The layers of all states, one state's after the other's; where two have a file, it is the later one's."""
    distinct = tuple(dict.fromkeys(states))
    if not distinct:
        raise ValueError("there is nothing to merge")
    if len(distinct) == 1:
        return distinct[0]
    inputs = [ops_pb2.MergeInput(input=number) for number in range(len(distinct))]
    return State(Vertex(ops_pb2.Op(merge=ops_pb2.MergeOp(inputs=inputs)), distinct, None, name))
