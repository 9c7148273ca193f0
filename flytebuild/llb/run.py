"""Running a process on a state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from flytebuild.buildkit._pb import ops_pb2
from flytebuild.llb.state import State, Vertex
from flytebuild.spec.model import Platform, RuntimeConfig

_SHARING = {"shared": ops_pb2.SHARED, "private": ops_pb2.PRIVATE, "locked": ops_pb2.LOCKED}


@dataclass(frozen=True, slots=True)
class CacheMount:
    """A folder that outlives the step and is shared by all steps of the same `id`; never part of the image."""

    target: str
    id: str
    sharing: Literal["shared", "private", "locked"] = "shared"


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A file of the session, readable by everyone in the step; where the session has none, nothing is mounted."""

    target: str
    id: str


@dataclass(frozen=True, slots=True)
class SecretVariable:
    """An environment variable of the session's; where the session has none, it is not set."""

    name: str
    id: str


def run(
    state: State,
    args: Sequence[str],
    context: RuntimeConfig,
    platform: Platform,
    *,
    name: str,
    caches: Sequence[CacheMount] = (),
    files: Sequence[SecretFile] = (),
    variables: Sequence[SecretVariable] = (),
) -> State:
    """What `args` leaves of `state`, run with the environment, folder and user of `context`."""
    operation = ops_pb2.ExecOp(
        meta=ops_pb2.Meta(
            args=args,
            env=[f"{key}={value}" for key, value in context.env],
            cwd=context.workdir,
            user=context.user,
        ),
        mounts=[ops_pb2.Mount(input=0, dest="/", output=0)],
        secret_env=[ops_pb2.SecretEnv(id=item.id, name=item.name, optional=True) for item in variables],
    )
    for cache in caches:
        operation.mounts.add(
            input=-1,
            dest=cache.target,
            output=-1,
            mount_type=ops_pb2.CACHE,
            cache_opt=ops_pb2.CacheOpt(id=cache.id, sharing=_SHARING[cache.sharing]),
        )
    for file in files:
        operation.mounts.add(
            input=-1,
            dest=file.target,
            output=-1,
            mount_type=ops_pb2.SECRET,
            secret_opt=ops_pb2.SecretOpt(id=file.id, mode=0o444, optional=True),
        )
    return State(Vertex(ops_pb2.Op(exec=operation), (state,), platform, name))
