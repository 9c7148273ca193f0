"""Runs in an image's container: draws the outline of another image, as far as copies into that can meet it.

`python survey.py ROOT TARGET WANTED`: ROOT is the image's file system, TARGET an empty folder for the outline, WANTED
a JSON object with `places`, `users` and `groups`. A place is a path and two lists of folders below it. What is on the
way to the path is drawn, and what is directly in it and in folders of the first list; of folders of the second list
all that is below them. Of `/etc/passwd` and `/etc/group` the lines of the users and groups are kept.

Folders are drawn with owner, mode, attributes and time, links as they are, and everything else as an empty file. It
needs nothing but the standard library of Python 3.7.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Path = tuple[bytes, ...]

_LINKS = 255
"""As many links are followed on the way to a path as BuildKit follows."""


class Survey:
    """One outline while it is drawn; paths are the names on the way from the root, none of them a link."""

    def __init__(self, root: bytes, target: bytes) -> None:
        self.root = root
        self.target = target
        self.drawn: dict[Path, os.stat_result | None] = {(): os.lstat(root)}

    def reach(self, path: bytes) -> Path:
        """Draw what is on the way to a path, through links, which stay within the root. Returns where it leads to."""
        here: Path = ()
        pending = [*_names(path)]
        links = 0
        while pending:
            name = pending.pop(0)
            if name == b"..":
                here = here[:-1]
                continue
            status = self.draw((*here, name))
            if status is None or not stat.S_ISLNK(status.st_mode):
                here = (*here, name)
                continue
            links += 1
            if links > _LINKS:
                return (*here, name)
            target = os.readlink(self._of(self.root, (*here, name)))
            if target.startswith(b"/"):
                here = ()
            pending[:0] = _names(target)
        return here

    def draw(self, path: Path) -> os.stat_result | None:
        """Draw one entry whose folder is drawn. None: there is none."""
        if path not in self.drawn:
            self.drawn[path] = self._drawn(path)
        return self.drawn[path]

    def draw_inside(self, top: Path, below: bytes) -> None:
        """Draw what is directly in a folder below a path that was reached, if it is one and no link is in the way."""
        if self._has_folder(top, below):
            self._draw_folder((*top, *_names(below)))

    def draw_below(self, top: Path, below: bytes) -> None:
        """Draw everything that is below such a folder."""
        pending = [(*top, *_names(below))] if self._has_folder(top, below) else []
        while pending:
            pending += self._draw_folder(pending.pop())

    def keep_lines(self, path: bytes, names: list[bytes]) -> None:
        """Draw a file of names with the first line of each of these, without passwords."""
        place = self.reach(path)
        status = self.draw(place)
        if status is None or not stat.S_ISREG(status.st_mode):
            return
        found: dict[bytes, bytes] = {}
        with open(self._of(self.root, place), "rb") as file:
            for line in file:
                fields = line.strip().split(b":")
                if fields[0] in names:
                    found.setdefault(fields[0], b":".join([fields[0], b"x", *fields[2:4]]) + b"\n")
        with open(self._of(self.target, place), "wb") as file:
            file.writelines(found[name] for name in sorted(found))

    def finish(self) -> None:
        """Give the folders what they have in the image; deepest first, as that changes the times above."""
        for path in sorted(self.drawn, key=len, reverse=True):
            status = self.drawn[path]
            if status is None or not stat.S_ISDIR(status.st_mode):
                continue
            source, target = self._of(self.root, path), self._of(self.target, path)
            os.chown(target, status.st_uid, status.st_gid)
            os.chmod(target, stat.S_IMODE(status.st_mode))
            for name in os.listxattr(source):
                try:
                    os.setxattr(target, name, os.getxattr(source, name))
                except OSError:
                    # Not every attribute may be set, nor does BuildKit fail when it copies one that may not.
                    continue
            os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns))

    def _drawn(self, path: Path) -> os.stat_result | None:
        source, target = self._of(self.root, path), self._of(self.target, path)
        try:
            status = os.lstat(source)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if stat.S_ISDIR(status.st_mode):
            os.mkdir(target)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(source), target)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        return status

    def _draw_folder(self, folder: Path) -> list[Path]:
        """Draw what is directly in a folder that is drawn; the folders of that."""
        inside = [(*folder, name) for name in sorted(os.listdir(self._of(self.root, folder)))]
        return [path for path in inside if self._is_folder(path)]

    def _has_folder(self, top: Path, below: bytes) -> bool:
        """Draw what is on the way to a folder; whether it is there."""
        names = _names(below)
        return all(self._is_folder((*top, *names[:length])) for length in range(len(names) + 1))

    def _is_folder(self, path: Path) -> bool:
        status = self.draw(path)
        return status is not None and stat.S_ISDIR(status.st_mode)

    @staticmethod
    def _of(top: bytes, path: Path) -> bytes:
        return os.path.join(top, *path)


def main(root: str, target: str, wanted: str) -> None:
    survey = Survey(os.fsencode(root), os.fsencode(target))
    asked = json.loads(wanted)
    for place, listed, searched in asked["places"]:
        top = survey.reach(_raw(place))
        for folder in ("", *listed):
            survey.draw_inside(top, _raw(folder))
        for folder in searched:
            survey.draw_below(top, _raw(folder))
    for file, names in (("/etc/passwd", asked["users"]), ("/etc/group", asked["groups"])):
        if names:
            survey.keep_lines(file.encode(), [_raw(name) for name in names])
    survey.finish()


def _names(path: bytes) -> Path:
    return tuple(name for name in path.split(b"/") if name not in (b"", b"."))


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


if __name__ == "__main__":
    main(*sys.argv[1:])
