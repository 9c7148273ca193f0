"""File operations that need no process."""

from __future__ import annotations

from flytebuild.buildkit._pb import ops_pb2
from flytebuild.llb.state import State, Vertex
from flytebuild.spec.model import Platform

_ROOT = ops_pb2.ChownOpt(user=ops_pb2.UserOpt(by_id=0), group=ops_pb2.UserOpt(by_id=0))
_KEEP = -1


def copy(state: State, source: State, src: str, dest: str, platform: Platform, *, name: str) -> State:
    """`state` with the file `src` of `source` at `dest`, owned by root, its mode and time kept."""
    action = ops_pb2.FileAction(
        input=0,
        secondary_input=1,
        output=0,
        copy=ops_pb2.FileActionCopy(
            src=src, dest=dest, owner=_ROOT, mode=_KEEP, create_dest_path=True, timestamp=_KEEP
        ),
    )
    operation = ops_pb2.Op(file=ops_pb2.FileOp(actions=[action]))
    return State(Vertex(operation, (state, source), platform, name))
