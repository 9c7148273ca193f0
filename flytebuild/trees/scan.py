"""From a folder on this disk to its tree: one walk by `lstat`, then the content of what the stat cache does not know.

Links are never followed, except to the folder or the file that was asked for. Owners, times and mode bits other than
the owner's `x` play no part. Whatever changes between the walk and the end of its reading is an error.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from flytebuild.errors import SourceError
from flytebuild.spec.tree import Entry, Tree, assemble, decode_name, folder_entry, link_entry
from flytebuild.trees import statcache
from flytebuild.trees.content import Unread, digests
from flytebuild.trees.ignore import Ignore
from flytebuild.trees.problems import shown, unreadable
from flytebuild.trees.statcache import KnownFiles, StatCache
from flytebuild.trees.warnings import TreeWarning, warnings

_REFUSED = {
    stat.S_IFSOCK: "a socket",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_REFUSED_BITS = stat.S_ISUID | stat.S_ISGID
_LEAVE_OUT = "leave it out with a line in the ignore file"
_NAME = attrgetter("name")


class ScannedTree(Struct, frozen=True):
    """A tree and where its content is, which is all that sending it takes.

    `root` is absolute and free of links. `tree.entries` is in the order of a walk, each with its path, kind, mode,
    size, link target and the digest that the bytes must still have when they are sent.
    """

    root: Path
    tree: Tree
    warnings: tuple[TreeWarning, ...] = ()
    _elsewhere: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Those of the tree."""
        return self.tree.entries

    @property
    def moved(self) -> Mapping[str, Path]:
        """Where the content of entries is that do not lie below `root`, by their paths."""
        return {path: Path(os.fsdecode(place)) for path, place in self._elsewhere.items()}

    def location(self, entry: Entry) -> bytes:
        """The absolute path that an entry's content is read from; its last component is no link for a file."""
        return self._elsewhere.get(entry.path) or os.path.join(os.fsencode(self.root), entry.raw_path)


def scan(root: Path, ignore: Ignore | None = None, cache: StatCache | None = None) -> ScannedTree:
    """The tree of a folder without what `ignore` leaves out. Without a cache every file is read.

    A folder that is left out but for something in it is part of the tree. Raises SourceError, with the path, for a
    folder that is none, for what cannot be read, for what changes meanwhile and for what no image can hold: sockets,
    pipes, devices, files with a set-uid or set-gid bit.
    """
    folder = os.path.realpath(os.fsencode(root))
    if not os.path.isdir(folder):
        raise SourceError(f"`{shown(os.fsencode(root))}` is not a folder" if os.path.lexists(root) else _missing(root))
    found = _Findings(cache.known(folder) if cache else KnownFiles())
    _walk(folder, ignore or Ignore.none(), found)
    return _finish(folder, found, cache)


def scan_file(path: Path, cache: StatCache | None) -> ScannedTree:
    """A single file, followed if it is a link, as a tree of one entry of the name that was asked for.

    Raises SourceError as `scan` does.
    """
    place = os.path.realpath(os.fsencode(path))
    folder, raw = os.path.split(place)
    try:
        status = os.stat(place)
    except FileNotFoundError:
        raise SourceError(_missing(path)) from None
    except OSError as error:
        raise unreadable(place, error) from error
    if stat.S_ISDIR(status.st_mode):
        raise SourceError(f"`{shown(os.fsencode(path))}` is a folder, where a file is needed")
    found = _Findings(cache.known(folder, only=raw) if cache else KnownFiles())
    found.add(decode_name(raw), raw, place, status)
    found.read()
    if cache:
        cache.remember(found.known)
    (entry,) = found.entries
    name = decode_name(os.path.basename(os.path.abspath(os.fsencode(path))))
    tree = assemble([replace(entry, path=name)])
    return ScannedTree(Path(os.fsdecode(folder)), tree, (), {name: place})


class _Findings(Struct):
    """What a walk has met: entries in its order, those of unread files without a digest yet."""

    known: KnownFiles
    entries: list[Entry] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)

    def add(self, path: str, raw: bytes, place: bytes, status: os.stat_result) -> None:
        """Take one thing by its path in the tree, the same as bytes, where it is, and what `lstat` says."""
        mode = status.st_mode
        kind = stat.S_IFMT(mode)
        if kind == stat.S_IFREG:
            if mode & _REFUSED_BITS:
                raise SourceError(
                    f"`{shown(place)}` has a set-uid or set-gid bit, which no image gets from here",
                    hint=f"{_LEAVE_OUT}, or set the bit in a command of the image",
                )
            seen = statcache.stamp(status)
            digest = self.known.digest(raw, seen)
            if digest is None:
                self.unread.append(Unread(place, seen, status.st_size, len(self.entries)))
            text = digest.hex() if digest else ""
            self.entries.append(Entry(path, "executable" if mode & stat.S_IXUSR else "file", text, status.st_size))
        elif kind == stat.S_IFDIR:
            self.entries.append(folder_entry(path))
        elif kind == stat.S_IFLNK:
            try:
                self.entries.append(link_entry(path, decode_name(os.readlink(place))))
            except OSError as error:
                raise unreadable(place, error) from error
        else:
            name = _REFUSED.get(kind, "neither a file nor a folder nor a link")
            raise SourceError(f"`{shown(place)}` is {name}, which no image can hold", hint=_LEAVE_OUT)

    def read(self) -> None:
        """Read what nothing is known of, and note it for the stat cache."""
        for file, digest in digests(self.unread):
            entry = self.entries[file.index]
            self.entries[file.index] = Entry(entry.path, entry.kind, digest.hex(), entry.size)
            self.known.learn(entry.raw_path, file.stamp, digest)


def _walk(folder: bytes, ignore: Ignore, found: _Findings) -> None:
    pending = [(folder, b"", "", 0)]
    has_patterns = bool(ignore)
    while pending:
        place, raw_prefix, prefix, above = pending.pop()
        try:
            with os.scandir(place) as listing:
                items = sorted(listing, key=_NAME)
            for item in items:
                name = decode_name(item.name)
                path, decided = prefix + name, 0
                if has_patterns:
                    is_excluded, decided = ignore.decide(path, name, above)
                    if is_excluded:
                        if item.is_dir(follow_symlinks=False) and ignore.may_reinclude(path, decided):
                            # The folder itself comes with what is found in it, if anything is.
                            pending.append((item.path, raw_prefix + item.name + b"/", path + "/", decided))
                        continue
                raw = raw_prefix + item.name
                status = item.stat(follow_symlinks=False)
                found.add(path, raw, item.path, status)
                if stat.S_ISDIR(status.st_mode):
                    pending.append((item.path, raw + b"/", path + "/", decided))
        except OSError as error:
            raise unreadable(_named(error, place), error) from error


def _finish(folder: bytes, found: _Findings, cache: StatCache | None) -> ScannedTree:
    found.read()
    if cache:
        cache.remember(found.known)
    tree = assemble(found.entries)
    return ScannedTree(Path(os.fsdecode(folder)), tree, warnings(tree))


def _named(error: OSError, place: bytes) -> bytes:
    """The path that an error speaks of."""
    return error.filename if isinstance(error.filename, bytes) else place


def _missing(path: Path) -> str:
    return f"`{shown(os.fsencode(path))}` does not exist"
