"""Sending trees of files to BuildKit while it solves (fsutil's protocol, `FileSync.DiffCopy`).

BuildKit fetches a file only when it has none of the same path, size, time, mode and owner from an earlier transfer.
So nothing of the real metadata is sent but what a tree's digest is taken of: owners are root, modes are two, and a
file's time is made from its digest, by which an edit that changes no size is never missed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import unquote_plus

from blake3 import blake3
from msgspec import Struct

from flytebuild.buildkit._pb import filesync_pb2 as pb
from flytebuild.buildkit.session.patterns import Patterns
from flytebuild.errors import DefinitionError

_CHUNK = 1024 * 1024
"""Bytes per packet; daemons take messages of 4 MiB."""

_GO_FOLDER = 1 << 31
_GO_LINK = 1 << 27
_MODES = {"file": 0o644, "executable": 0o755, "dir": 0o755 | _GO_FOLDER, "link": 0o777 | _GO_LINK}
_EPOCH = 1_000_000_000_000_000_000
"""2001 in nanoseconds: the time of folders and links, and the earliest of a file."""


class Entry(Protocol):
    """One entry of a tree. `digest` is the BLAKE3 of a file's content in hex, `target` what a link holds."""

    @property
    def path(self) -> str:
        """Relative to the tree's root, with `/` between its parts."""

    @property
    def kind(self) -> Literal["file", "executable", "link", "dir"]: ...

    @property
    def size(self) -> int: ...

    @property
    def target(self) -> str: ...

    @property
    def digest(self) -> str: ...


class Tree(Protocol):
    """Files as they were when they were hashed; `entries` come in any order.

    They lie below an absolute `root`, but for those whose place `moved` gives by their path in the tree.
    """

    @property
    def root(self) -> Path: ...

    @property
    def moved(self) -> Mapping[str, Path]: ...

    @property
    def entries(self) -> Iterable[Entry]: ...


class Files(Struct, frozen=True):
    """Serves trees by name. Raises DefinitionError for names in them that cannot be sent.

    A source is a tree by its own name, or a place with many by the name of one of them in `local.followpaths`.
    """

    trees: Mapping[str, Tree]
    method: str = "/moby.filesync.v1.FileSync/DiffCopy"

    def __post_init__(self) -> None:
        for tree in self.trees.values():
            refuse_unsendable(tree)

    def exchange(self, requests: Iterator[bytes], metadata: Mapping[str, Sequence[str]]) -> Iterator[bytes]:
        """Serve one transfer."""
        asked = _decoded(metadata)
        names = [name for key in ("dir-name", "followpaths") for name in asked.get(key, ())]
        tree = next((self.trees[name] for name in names if name in self.trees), None)
        if tree is None:
            # Not as the call's status: BuildKit now and then tells of a call that ends so only that it was cancelled.
            said = f"this build has no files called `{names[-1] if names else ''}`"
            yield bytes(pb.Packet(type=pb.ERR, data=said.encode()).SerializeToString())
            return
        # Other `followpaths` say what will be looked at, as far as known. To send more than that is no mistake.
        patterns = Patterns(asked.get("include-patterns", ()), asked.get("exclude-patterns", ()))
        for packet in _transfer(tree, patterns, requests):
            yield packet.SerializeToString()


def refuse_unsendable(tree: Tree) -> None:
    """Raise DefinitionError when a name in the tree is no text: messages to BuildKit can carry only that."""
    for entry in tree.entries:
        for text, what in ((entry.path, "name of"), (entry.target, "target of the link")):
            try:
                text.encode()
            except UnicodeEncodeError as error:
                shown = os.fsencode(entry.path).decode("utf-8", "backslashreplace")
                raise DefinitionError(
                    f"The {what} `{shown}` in `{tree.root}` is not UTF-8, and cannot be sent to BuildKit",
                    hint="rename it, or leave it out with a `.dockerignore`",
                ) from error


class _UnsendableError(Exception):
    """A file cannot be sent; the text is for the user."""


def _transfer(tree: Tree, patterns: Patterns, requests: Iterator[bytes]) -> Iterator[pb.Packet]:
    entries = _in_order(tree.entries, patterns)
    for path, entry in entries:
        yield pb.Packet(type=pb.STAT, stat=_stat(path, entry))
    yield pb.Packet(type=pb.STAT)
    # BuildKit asks for files while entries are still being sent; the requests wait until then.
    for raw in requests:
        request = pb.Packet.FromString(raw)
        if request.type == pb.FIN:
            yield pb.Packet(type=pb.FIN)
            return
        if request.type == pb.ERR:
            return
        if request.type != pb.REQ:
            continue
        _, entry = entries[request.id]
        try:
            if entry is not None:
                place = tree.moved.get(entry.path) or tree.root / entry.path
                yield from _content(place, entry, request.id)
        except _UnsendableError as error:
            yield pb.Packet(type=pb.ERR, data=str(error).encode())
            return


def _in_order(entries: Iterable[Entry], patterns: Patterns) -> list[tuple[str, Entry | None]]:
    """Entries by path in the order that BuildKit demands; None stands for a folder.

    That order is by bytes with `/` below all others: a folder comes right before what is in it, which needs every
    folder to be there.
    """
    known = {entry.path: None if entry.kind == "dir" else entry for entry in entries}
    found: dict[str, Entry | None] = {}
    for path in patterns.select(known):
        found[path] = known[path]
        parent = path.rpartition("/")[0]
        while parent and parent not in found:
            found[parent] = None
            parent = parent.rpartition("/")[0]
    return sorted(found.items(), key=lambda item: item[0].encode().replace(b"/", b"\0"))


def _stat(path: str, entry: Entry | None) -> pb.Stat:
    if entry is None:
        return pb.Stat(path=path, mode=_MODES["dir"], mod_time=_EPOCH)
    if entry.kind == "link":
        return pb.Stat(
            path=path,
            mode=_MODES["link"],
            size=len(entry.target.encode()),
            linkname=entry.target,
            mod_time=_EPOCH,
        )
    return pb.Stat(path=path, mode=_MODES[entry.kind], size=entry.size, mod_time=_time(entry.digest))


def _time(digest: str) -> int:
    """59 bits of a digest as a time between 2001 and 2019, which every file system can hold."""
    return _EPOCH + (int(digest[:15], 16) >> 1)


def _content(place: Path, entry: Entry, number: int) -> Iterator[pb.Packet]:
    """The content of a file, as long as it is what was hashed. The end is not sent before that is known."""
    hasher = blake3()
    rest = entry.size
    # A pipe in the file's place must not block; a link in its place must not lead elsewhere.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(place, flags)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _UnsendableError(_changed(entry))
            while data := os.read(descriptor, _CHUNK):
                rest -= len(data)
                if rest < 0:
                    raise _UnsendableError(_changed(entry))
                hasher.update(data)
                yield pb.Packet(type=pb.DATA, id=number, data=data)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO):
            raise _UnsendableError(_changed(entry)) from error
        raise _UnsendableError(f"`{entry.path}` cannot be read ({error.strerror})") from error
    if hasher.hexdigest() != entry.digest:
        raise _UnsendableError(_changed(entry))
    yield pb.Packet(type=pb.DATA, id=number)


def _changed(entry: Entry) -> str:
    return f"`{entry.path}` changed while the image was built"


def _decoded(metadata: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """What came with the call, by key; values that are not ASCII come encoded as in a URL's query."""
    return {
        key: [unquote_plus(value) if f"{key}-encoded" in metadata else value for value in values]
        for key, values in metadata.items()
    }
