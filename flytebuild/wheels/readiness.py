"""Whether a base has the virtual environment that images begin with, so that nothing has to be made on top of it.

Then images need its files for nothing: what they add are layers made apart from it, `/usr/bin/uv` among them.
"""

from __future__ import annotations

import posixpath
import re
import tarfile
from collections.abc import Callable

from msgspec import Struct, field

from flytebuild.spec.prefix import VENV

_PYTHON = f"{VENV}/bin/python".lstrip("/")
_PROGRAM = re.compile(r"(?:.*/)?python[\d.]*")
_FOLDERS = frozenset(("usr", "usr/bin"))
"""Where the binary of uv goes: a layer that is put on top has them, too, so they must be the same."""

_MOST_LINKS = 40
"""So many the kernel follows (path_resolution(7))."""


class Readiness(Struct):
    """What tells it of an image, entry by entry, the lowest layer first; paths are relative to the root.

    Of programs that may be Python it is known where they are links to, or whether they can be executed.
    """

    _programs: dict[str, str | bool] = field(default_factory=dict)
    _plain: set[str] = field(default_factory=set)

    def add(self, path: str, member: tarfile.TarInfo) -> None:
        """Take one more entry, which takes the place of what was there."""
        if path in _FOLDERS:
            (self._plain.add if is_plain(member) else self._plain.discard)(path)
        if not member.isdir():
            self.remove(lambda item: item.startswith(f"{path}/"))
        if not _PROGRAM.fullmatch(path):
            return
        if member.issym():
            self._programs[path] = member.linkname
        elif member.isreg() or member.islnk():
            self._programs[path] = bool(member.mode & 0o111)
        else:
            self._programs.pop(path, None)

    def remove(self, is_gone: Callable[[str], bool]) -> None:
        """Take away what a later layer has removed."""
        if any(map(is_gone, (*self._programs, *self._plain))):
            self._programs = {path: found for path, found in self._programs.items() if not is_gone(path)}
            self._plain = {path for path in self._plain if not is_gone(path)}

    def holds(self) -> bool:
        """Whether Python can be executed in the virtual environment, and folders are as in the layers put on top.

        What cannot be followed, such as a link through a folder that is one itself, does not count.
        """
        path = _PYTHON
        for _ in range(_MOST_LINKS):
            found = self._programs.get(path, False)
            if isinstance(found, bool):
                return found and self._plain == _FOLDERS
            path = posixpath.normpath(posixpath.join("/", posixpath.dirname(path), found)).lstrip("/")
        return False


def is_plain(member: tarfile.TarInfo) -> bool:
    """Whether an entry is a folder of root's that all may read."""
    return member.isdir() and (member.uid, member.gid, member.mode & 0o7777) == (0, 0, 0o755)
