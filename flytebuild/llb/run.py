"""Running a process on a state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

from flytebuild.buildkit._pb import ops_pb2
from flytebuild.llb.proxies import Proxies
from flytebuild.llb.state import State, Vertex
from flytebuild.spec.images import Platform, RuntimeConfig

_SHARING = {"shared": ops_pb2.SHARED, "private": ops_pb2.PRIVATE, "locked": ops_pb2.LOCKED}
_NOTHING = -1
_DISCARDED = -1


class CacheMount(Struct, frozen=True):
    """A folder that outlives the step and is shared by all steps of the same `id`; never part of the image."""

    target: str
    id: str
    sharing: Literal["shared", "private", "locked"] = "shared"


class BindMount(Struct, frozen=True):
    """The file or folder `path` of another state. The step may write to a `writable` one; that is thrown away.

    BuildKit knows the step by what is in it, unless it `is_known` by how it came about: that of an image or a file with
    a digest. It then need not be there for BuildKit to tell whether it has the step's result.
    """

    target: str
    source: State
    path: str = "/"
    writable: bool = False
    is_known: bool = False


class TmpfsMount(Struct, frozen=True):
    """An empty folder in memory, of at most `size` bytes (0: no limit), gone with the step."""

    target: str
    size: int = 0


class SecretFile(Struct, frozen=True):
    """A file of the session, readable by everyone in the step unless said otherwise.

    Where the session has none, nothing is mounted; the step fails if it is `required`.
    """

    target: str
    id: str
    required: bool = False
    uid: int = 0
    gid: int = 0
    mode: int = 0o444


class SecretVariable(Struct, frozen=True):
    """An environment variable of the session's.

    Where the session has none, BuildKit sets it to nothing; the step fails if it is `required`.
    """

    name: str
    id: str
    required: bool = False


Mount: TypeAlias = CacheMount | BindMount | TmpfsMount | SecretFile


def run(
    state: State,
    args: Sequence[str],
    context: RuntimeConfig,
    platform: Platform,
    *,
    name: str,
    binds: Sequence[BindMount] = (),
    caches: Sequence[CacheMount] = (),
    tmpfs: Sequence[TmpfsMount] = (),
    files: Sequence[SecretFile] = (),
    variables: Sequence[SecretVariable] = (),
    proxies: Proxies | None = None,
    has_network: bool = True,
) -> State:
    """What `args` leaves of `state`, run with the environment, folder and user of `context`.

    Without a network a step reaches itself only. The order in which mounts are given is no part of the step. Raises
    ValueError for two mounts at one target.
    """
    given: tuple[Mount, ...] = (*binds, *caches, *tmpfs, *files)
    mounts = sorted(given, key=lambda mount: mount.target)
    targets = [mount.target for mount in mounts]
    if len(set(targets)) < len(targets):
        raise ValueError(f"two mounts of `{name}` have the same target: {', '.join(targets)}")
    sources = dict.fromkeys((state, *(mount.source for mount in mounts if isinstance(mount, BindMount))))
    inputs = {source: number for number, source in enumerate(sources)}
    operation = ops_pb2.ExecOp(
        meta=ops_pb2.Meta(
            args=args,
            env=[f"{key}={value}" for key, value in context.env],
            cwd=context.workdir,
            user=context.user,
            proxy_env=proxies.encode() if proxies else None,
            # Or the folders above a mount's target would stay in the image.
            remove_mount_stubs_recursive=True,
        ),
        mounts=[ops_pb2.Mount(input=0, dest="/", output=0), *(_encode(mount, inputs) for mount in mounts)],
        secret_env=[ops_pb2.SecretEnv(id=item.id, name=item.name, optional=not item.required) for item in variables],
        network=ops_pb2.SANDBOX if has_network else ops_pb2.NONE,
    )
    return State(Vertex(ops_pb2.Op(exec=operation), tuple(inputs), platform, name))


def fill(
    state: State,
    args: Sequence[str],
    context: RuntimeConfig,
    platform: Platform,
    *,
    name: str,
    target: str,
    binds: Sequence[BindMount] = (),
) -> State:
    """What `args` leaves in the empty folder `target`, run on `state`, which it cannot change, and without a network.

    BuildKit knows the step by how what it mounts came about. By its content, as with `run`, it would have to read all
    of that before it could tell whether it has the result already.
    """
    sources = dict.fromkeys((state, *(bind.source for bind in binds)))
    inputs = {source: number for number, source in enumerate(sources)}
    mounts = [ops_pb2.Mount(input=0, dest="/", output=_DISCARDED, readonly=True)]
    for bind in sorted(binds, key=lambda bind: bind.target):
        mounts.append(_encode(bind, inputs))
        mounts[-1].content_cache = ops_pb2.OFF
    mounts.append(ops_pb2.Mount(input=_NOTHING, dest=target, output=0))
    meta = ops_pb2.Meta(
        args=args, env=[f"{key}={value}" for key, value in context.env], cwd=context.workdir, user=context.user
    )
    operation = ops_pb2.ExecOp(meta=meta, mounts=mounts, network=ops_pb2.NONE)
    return State(Vertex(ops_pb2.Op(exec=operation), tuple(inputs), platform, name))


def _encode(mount: Mount, inputs: Mapping[State, int]) -> ops_pb2.Mount:
    match mount:
        case BindMount():
            selector = "" if mount.path == "/" else mount.path
            return ops_pb2.Mount(
                input=inputs[mount.source],
                selector=selector,
                dest=mount.target,
                output=_DISCARDED,
                readonly=not mount.writable,
                content_cache=ops_pb2.OFF if mount.is_known else ops_pb2.DEFAULT,
            )
        case CacheMount():
            cache = ops_pb2.CacheOpt(id=mount.id, sharing=_SHARING[mount.sharing])
            return _from_nothing(mount.target, mount_type=ops_pb2.CACHE, cache_opt=cache)
        case TmpfsMount():
            tmpfs = ops_pb2.TmpfsOpt(size=mount.size)
            return _from_nothing(mount.target, mount_type=ops_pb2.TMPFS, tmpfs_opt=tmpfs)
        case SecretFile():
            secret = ops_pb2.SecretOpt(
                id=mount.id, uid=mount.uid, gid=mount.gid, mode=mount.mode, optional=not mount.required
            )
            return _from_nothing(mount.target, mount_type=ops_pb2.SECRET, secret_opt=secret)


def _from_nothing(target: str, **fields: object) -> ops_pb2.Mount:
    return ops_pb2.Mount(input=_NOTHING, dest=target, output=_DISCARDED, **fields)  # type: ignore[arg-type]
