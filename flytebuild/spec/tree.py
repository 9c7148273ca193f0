"""The content of a file tree as a value, and its digest.

A tree is names, kinds, an executable bit and content; owners, times and other mode bits are no part of it. Digests form
a Merkle tree, so equal folders are recognised wherever they are:

file = BLAKE3(bytes), without a context, so that `b3sum` can check it
link = H(link, target)
dir  = H(dir, u64 count, then per child in the order of the names' bytes: kind, u32 length of the name, name, digest)

Integers are big-endian; a kind is one of the bytes `f`, `x` (an executable file), `l` and `d`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from functools import cached_property
from typing import Literal

from msgspec import Struct

from flytebuild.spec.canonical import digest_bytes

Kind = Literal["file", "executable", "link", "dir"]

_KIND_BYTES: dict[Kind, bytes] = {"file": b"f", "executable": b"x", "link": b"l", "dir": b"d"}
_MODES: dict[Kind, int] = {"file": 0o644, "executable": 0o755, "link": 0o777, "dir": 0o755}


def encode_name(name: str) -> bytes:
    """The bytes of a path, a name or a link's target. Undecodable ones survive, whatever the locale."""
    return name.encode("utf-8", "surrogateescape")


def decode_name(raw: bytes) -> str:
    """The inverse of `encode_name`, for any bytes."""
    return raw.decode("utf-8", "surrogateescape")


class Entry(Struct, frozen=True):
    """One file, link or folder; `path` is relative to the tree's root, in posix form.

    `digest` has 64 hex digits; a folder's is empty until `assemble` has put it into a tree. `size` counts the bytes of
    a file's content and is 0 for the others; `target` is what a link holds.
    """

    path: str
    kind: Kind
    digest: str
    size: int = 0
    target: str = ""

    @property
    def raw_path(self) -> bytes:
        """The path as the file system has it."""
        return encode_name(self.path)

    @property
    def mode(self) -> int:
        """The permission bits that this entry has in an image, whatever they are on the host."""
        return _MODES[self.kind]

    @property
    def is_file(self) -> bool:
        return self.kind in ("file", "executable")


def link_entry(path: str, target: str) -> Entry:
    """A symbolic link by what it holds; where it leads to is not looked at."""
    return Entry(path, "link", digest_bytes("link", encode_name(target)), 0, target)


def folder_entry(path: str) -> Entry:
    """A folder; its digest comes with the tree."""
    return Entry(path, "dir", "")


class Tree(Struct, frozen=True, dict=True):
    """Entries, each folder before what is in it and siblings in the order of their names' bytes; the root has none."""

    entries: tuple[Entry, ...]
    digest: str

    def __hash__(self) -> int:
        return hash(self.digest)

    @cached_property
    def size(self) -> int:
        """Bytes of all files' content."""
        return sum(entry.size for entry in self.entries)

    @cached_property
    def by_path(self) -> dict[str, Entry]:
        """Every entry by its path."""
        return {entry.path: entry for entry in self.entries}

    @cached_property
    def files(self) -> dict[str, str]:
        """What every path but a folder's holds, as a text that changes with it."""
        return {entry.path: f"{entry.kind[0]}{entry.digest}" for entry in self.entries if entry.kind != "dir"}

    @cached_property
    def kin(self) -> str:
        """What a tree has in common with itself after an edit, and hardly with any other: a mark of its files' paths.

        An edit of content never changes it. With a path that comes or goes it changes as seldom as that path's checksum
        is the smallest or the largest of all; which of several folders a tree was read from is no matter.
        """
        marks = [zlib.crc32(entry.raw_path) for entry in self.entries if entry.kind != "dir"]
        # How many there are, roughly: a part of a folder shares marks with all of it.
        return f"{min(marks):08x}{max(marks):08x}{len(marks).bit_length():02x}" if marks else "0"


def assemble(entries: Iterable[Entry]) -> Tree:
    """The tree of `entries`, in any order; folders that only their content implies are added.

    Raises ValueError for a path that is not a plain relative one, that comes twice, or that lies below a file.
    """
    children: dict[str, list[tuple[bytes, Entry]]] = {"": []}
    for entry in entries:
        path = entry.path
        parent, _, name = path.rpartition("/")
        siblings = children.get(parent)
        if siblings is None:
            siblings = _imply(parent, children)
        _check(path, name)
        if entry.kind != "dir":
            siblings.append((encode_name(name), entry))
        elif path not in children:
            _imply(path, children)
    return _finish(children)


def _imply(folder: str, children: dict[str, list[tuple[bytes, Entry]]]) -> list[tuple[bytes, Entry]]:
    """Note a folder, and those above it that were not seen yet; the list of its children."""
    new, path = [], folder
    while path not in children:
        new.append(path)
        path = path.rpartition("/")[0]
    for path in reversed(new):
        parent, _, name = path.rpartition("/")
        _check(path, name)
        children[parent].append((encode_name(name), folder_entry(path)))
        children[path] = []
    return children[folder]


def _check(path: str, name: str) -> None:
    if name in ("", ".", "..") or "\0" in name or path[0] == "/":
        raise ValueError(f"{path!r} is not a path within a tree")


def _finish(children: dict[str, list[tuple[bytes, Entry]]]) -> Tree:
    """Digest the folders from the deepest up, then list everything from the root down."""
    digests: dict[str, str] = {}
    for folder in sorted(children, key=lambda path: -path.count("/") if path else 1):
        siblings = children[folder]
        siblings.sort(key=_name_of)
        digests[folder] = _node(siblings, digests)
    ordered: list[Entry] = []
    pending = [iter(children[""])]
    while pending:
        for _, entry in pending[-1]:
            if entry.kind == "dir":
                ordered.append(Entry(entry.path, "dir", digests[entry.path]))
                pending.append(iter(children[entry.path]))
                break
            ordered.append(entry)
        else:
            pending.pop()
    return Tree(tuple(ordered), digests[""])


def _name_of(child: tuple[bytes, Entry]) -> bytes:
    return child[0]


def _node(siblings: list[tuple[bytes, Entry]], digests: dict[str, str]) -> str:
    parts = [len(siblings).to_bytes(8, "big")]
    previous = b""
    for name, entry in siblings:
        if name == previous:
            raise ValueError(f"{entry.path!r} is in the tree twice")
        previous = name
        digest = digests[entry.path] if entry.kind == "dir" else entry.digest
        parts += (_KIND_BYTES[entry.kind], len(name).to_bytes(4, "big"), name, bytes.fromhex(digest))
    return digest_bytes("dir", b"".join(parts))
