"""Layers as values: what one state adds to another, and states on top of each other.

Neither unpacks anything: BuildKit puts the layers that it has, or only knows of, into another order.
"""

from __future__ import annotations

from collections.abc import Sequence

from flytebuild.buildkit._pb import ops_pb2
from flytebuild.llb.marshal import in_order
from flytebuild.llb.state import State, Vertex


def merge(states: Sequence[State], *, name: str) -> State:
    """All states on top of each other, the last one uppermost."""
    inputs = [ops_pb2.MergeInput(input=number) for number in range(len(states))]
    return State(Vertex(ops_pb2.Op(merge=ops_pb2.MergeOp(inputs=inputs)), tuple(states), None, name))


def merging(state: State) -> frozenset[str]:
    """The digests of the vertices of either kind that a state is made of."""
    return frozenset(
        vertex.digest for vertex in in_order(state) if vertex.operation.WhichOneof("op") in ("merge", "diff")
    )


def diff(lower: State, upper: State, *, name: str) -> State:
    """What `upper` changes of `lower`. Where it was made on top of that, these are the layers since."""
    operation = ops_pb2.DiffOp(lower=ops_pb2.DiffInput(input=0), upper=ops_pb2.DiffInput(input=1))
    return State(Vertex(ops_pb2.Op(diff=operation), (lower, upper), None, name))
