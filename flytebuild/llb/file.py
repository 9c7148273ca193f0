"""File operations that need no process.

`change` applies any number of actions in one vertex; `copy`, `make_file`, `make_files` and `make_folder` are the
common cases. They change a state, or start from nothing with None: a merge then puts the result on top of other
layers without unpacking those.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from flytebuild.buildkit._pb import ops_pb2
from flytebuild.llb.state import State, Vertex
from flytebuild.spec.images import Platform

FIXED_TIME = 946_684_800
"""2000-01-01 in UTC: the time of files that have none of their own. Zip files hold nothing from before 1980."""

_KEEP = -1
_NOTHING = -1
_INTERMEDIATE = -1
_NANOSECONDS = 1_000_000_000


class Owner(Struct, frozen=True):
    """Who owns new files: numbers, or names of the /etc/passwd and /etc/group in `of`.

    Without a group it is the user's: of a name its main group, of a number the same number. `of` is the state that is
    changed unless another is given. BuildKit takes root for names that it does not find.
    """

    user: int | str = 0
    group: int | str | None = None
    of: State | None = None


ROOT = Owner()


class Copy(Struct, frozen=True):
    """`src` of `source` to `dest`; links stay links, and no character of `src` is a pattern.

    A file goes into `dest` if that is a folder or ends in `/`. A folder goes to `dest` if nothing is there, and into
    it otherwise; with `contents_only` its contents go into `dest` in both cases. Missing folders above `dest` are
    made. `mode` replaces that of every file and folder copied, `time` (seconds since 1970) the times of all; None
    keeps them, and as `owner` each one's own.
    """

    source: State
    src: str
    dest: str
    contents_only: bool = False
    owner: Owner | None = ROOT
    mode: int | None = None
    time: int | None = None


class MakeFile(Struct, frozen=True):
    """A file whose content is part of the graph: for small ones. Its folder must be there."""

    path: str
    content: bytes
    mode: int = 0o644
    owner: Owner = ROOT
    time: int = FIXED_TIME


class MakeFolder(Struct, frozen=True):
    """A folder. With `parents` all missing folders above it are made alike, and one that is there is left as it is."""

    path: str
    parents: bool = True
    mode: int = 0o755
    owner: Owner = ROOT
    time: int = FIXED_TIME


Action: TypeAlias = Copy | MakeFile | MakeFolder


def change(state: State | None, actions: Sequence[Action], platform: Platform, *, name: str) -> State:
    """`state`, or an empty file system, after all `actions` in their order; one layer however many they are."""
    if not actions:
        raise ValueError("a file operation needs an action")
    inputs = _inputs(state, actions)
    operation = ops_pb2.FileOp()
    for number, action in enumerate(actions):
        first = _NOTHING if state is None else 0
        encoded = _encode(action, inputs, state)
        # What an action leaves is numbered on from the inputs of the vertex.
        encoded.input = first if number == 0 else len(inputs) + number - 1
        encoded.secondary_input = inputs[action.source] if isinstance(action, Copy) else _NOTHING
        encoded.output = 0 if number == len(actions) - 1 else _INTERMEDIATE
        operation.actions.append(encoded)
    return State(Vertex(ops_pb2.Op(file=operation), tuple(inputs), platform, name))


def copy(
    state: State | None,
    source: State,
    src: str,
    dest: str,
    platform: Platform,
    *,
    name: str,
    contents_only: bool = False,
    owner: Owner | None = ROOT,
    mode: int | None = None,
    time: int | None = None,
) -> State:
    """`state` with `src` of `source` at `dest`, as `Copy` says."""
    action = Copy(source, src, dest, contents_only, owner, mode, time)
    return change(state, (action,), platform, name=name)


def make_file(
    state: State | None,
    path: str,
    content: bytes,
    platform: Platform,
    *,
    name: str,
    mode: int = 0o644,
    owner: Owner = ROOT,
) -> State:
    """`state` with one file, and the folders above it where they are missing."""
    return make_files(state, {path: content}, platform, name=name, mode=mode, owner=owner)


def make_files(
    state: State | None,
    files: Mapping[str, bytes],
    platform: Platform,
    *,
    name: str,
    mode: int = 0o644,
    owner: Owner = ROOT,
) -> State:
    """`state` with files by path, and the folders above them where they are missing; the mapping's order is no part."""
    folders = sorted({posixpath.dirname(path) for path in files} - {"", "/"})
    makes = [MakeFolder(path, owner=owner) for path in folders]
    writes = [MakeFile(path, files[path], mode, owner) for path in sorted(files)]
    return change(state, (*makes, *writes), platform, name=name)


def make_folder(
    state: State | None,
    path: str,
    platform: Platform,
    *,
    name: str,
    parents: bool = True,
    mode: int = 0o755,
    owner: Owner = ROOT,
) -> State:
    """`state` with a folder, as `MakeFolder` says."""
    return change(state, (MakeFolder(path, parents, mode, owner),), platform, name=name)


def _inputs(state: State | None, actions: Sequence[Action]) -> dict[State, int]:
    """The vertex's inputs with their numbers: each once, the changed state first."""
    used = [] if state is None else [state]
    for action in actions:
        if isinstance(action, Copy):
            used.append(action.source)
        if action.owner is not None and action.owner.of is not None:
            used.append(action.owner.of)
    return {item: number for number, item in enumerate(dict.fromkeys(used))}


def _encode(action: Action, inputs: Mapping[State, int], state: State | None) -> ops_pb2.FileAction:
    owner = _chown(action.owner, inputs, state)
    time = _KEEP if action.time is None else action.time * _NANOSECONDS
    match action:
        case Copy():
            copied = ops_pb2.FileActionCopy(
                src=action.src,
                dest=action.dest,
                owner=owner,
                mode=_KEEP if action.mode is None else action.mode,
                dir_copy_contents=action.contents_only,
                create_dest_path=True,
                timestamp=time,
            )
            return ops_pb2.FileAction(copy=copied)
        case MakeFile():
            made = ops_pb2.FileActionMkFile(
                path=action.path, mode=action.mode, data=action.content, owner=owner, timestamp=time
            )
            return ops_pb2.FileAction(mkfile=made)
        case MakeFolder():
            folder = ops_pb2.FileActionMkDir(
                path=action.path, mode=action.mode, make_parents=action.parents, owner=owner, timestamp=time
            )
            return ops_pb2.FileAction(mkdir=folder)


def _chown(owner: Owner | None, inputs: Mapping[State, int], state: State | None) -> ops_pb2.ChownOpt | None:
    if owner is None:
        return None
    if owner.group is None and isinstance(owner.user, int):
        owner = replace(owner, group=owner.user)
    known = owner.of or state

    def one(value: int | str) -> ops_pb2.UserOpt:
        if isinstance(value, int):
            return ops_pb2.UserOpt(by_id=value)
        if known is None:
            raise ValueError(f"`{value}` is a name, and there is no state to look it up in")
        return ops_pb2.UserOpt(by_name=ops_pb2.NamedUserOpt(name=value, input=inputs[known]))

    group = None if owner.group is None else one(owner.group)
    return ops_pb2.ChownOpt(user=one(owner.user), group=group)
