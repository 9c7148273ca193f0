"""Uploads in parts: each part is written where it belongs in one file, which becomes the object as it is.

Clients cut an object into parts of one size, but for the last one, which is smaller. So the first part that comes tells
where all of them belong. A part that is larger, or of a size that is not known before, is a file of its own, and the
object is put together by copying then.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from flytebuild.runtime.writing import Writer

_TARGET = "target"
_CONTENT = "content"
_STEP = "step"
_KEPT_SECONDS = 24 * 3600
_COPIED = 1 << 20


@dataclass(frozen=True, slots=True)
class _Part:
    """A part that has come: the file that it is in, where it begins there, and its size in bytes."""

    file: str
    begin: int
    size: int


class Uploads:
    """The uploads below one folder, each a folder `parts-IDENTIFIER`.

    Every method that takes an upload raises FileNotFoundError when there is none of that name.
    """

    def __init__(self, work: Path) -> None:
        self._work = work

    def begin(self, target: Path) -> str:
        """A new identifier for an upload; `target` is what the object will be."""
        upload = secrets.token_hex(16)
        folder = self._work / f"parts-{upload}"
        folder.mkdir()
        (folder / _TARGET).write_text(str(target), encoding="utf-8", errors="surrogateescape")
        return upload

    def target(self, upload: str) -> Path:
        """What the object of an upload will be."""
        return Path((self._folder(upload) / _TARGET).read_text(encoding="utf-8", errors="surrogateescape"))

    @contextlib.asynccontextmanager
    async def writer(self, upload: str, number: int, size: int | None) -> AsyncIterator[Writer]:
        """A writer of one part, counted from 1, which counts when the block ends well, instead of an earlier one."""
        folder = self._folder(upload)
        name, begin = _place(folder, number, size)
        with contextlib.closing(FileIO(folder / name, "r+" if (folder / name).exists() else "x")) as file:
            file.seek(begin)
            writer = Writer(file)
            yield writer
            await writer.flush()
            _record(folder, number, _Part(name, begin, file.tell() - begin))

    def whole(self, upload: str, numbers: Sequence[int]) -> Path | None:
        """The file that is the object, where all parts are in their places; None where they have to be copied."""
        folder = self._folder(upload)
        end = 0
        for part in _parts(folder, numbers):
            if part.file != _CONTENT or part.begin != end:
                return None
            end += part.size
        if not end:
            return None
        os.truncate(folder / _CONTENT, end)
        return folder / _CONTENT

    def copy(self, upload: str, numbers: Sequence[int], target: FileIO) -> None:
        """Append the parts to a file."""
        folder = self._folder(upload)
        for part in _parts(folder, numbers):
            left = part.size
            with (folder / part.file).open("rb") as source:
                source.seek(part.begin)
                while left and (piece := source.read(min(_COPIED, left))):
                    target.write(piece)
                    left -= len(piece)

    def drop(self, upload: str) -> None:
        """Forget an upload and what was received of it."""
        shutil.rmtree(self._folder(upload), ignore_errors=True)

    def sweep(self, now: float) -> int:
        """Remove uploads of which nothing has come for a day before `now`, in epoch seconds; how many those were."""
        left = [path for path in self._work.glob("parts-*") if _last_change(path, now) < now - _KEPT_SECONDS]
        for path in left:
            shutil.rmtree(path, ignore_errors=True)
        return len(left)

    def _folder(self, upload: str) -> Path:
        folder = self._work / f"parts-{upload}"
        if not re.fullmatch(r"[0-9a-f]{32}", upload) or not folder.is_dir():
            raise FileNotFoundError(f"there is no upload `{upload}`")
        return folder


def _last_change(folder: Path, now: float) -> float:
    """When something came for an upload, in epoch seconds; now, for one that was completed this very moment."""
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return now


def _place(folder: Path, number: int, size: int | None) -> tuple[str, int]:
    """The file that a part goes into, and where it begins there."""
    path = folder / _STEP
    if size and not path.exists():
        path.write_text(str(size), encoding="ascii")
    if size and size <= (step := int(path.read_text(encoding="ascii"))):
        return _CONTENT, (number - 1) * step
    return secrets.token_hex(8), 0


def _record(folder: Path, number: int, part: _Part) -> None:
    """Note that a part is there."""
    note = folder / f"{secrets.token_hex(8)}.note"
    note.write_text(f"{part.file} {part.begin} {part.size}", encoding="ascii")
    note.replace(folder / f"{number:05}")


def _parts(folder: Path, numbers: Sequence[int]) -> Iterator[_Part]:
    for number in numbers:
        file, begin, size = (folder / f"{number:05}").read_text(encoding="ascii").split()
        yield _Part(file, int(begin), int(size))
