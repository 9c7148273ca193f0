"""Tar archives as they are written and read, never held: how files go into containers and come out of them."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

PIECE = 1 << 20
"""Bytes that are in memory at the same time."""

_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True, slots=True)
class Distant:
    """Content that is not on this machine: its size in bytes, and what gives it piece by piece."""

    size: int
    give: Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Entry:
    """A file at `path`, without its leading slash: a file of this machine, bytes, or what is distant; else a folder."""

    path: str
    source: Path | bytes | Distant | None = field(repr=False)
    mode: int


def pieces(entries: Iterable[Entry]) -> Iterator[bytes]:
    """An archive of the entries, in their order. Raises OSError for a file that cannot be read."""
    for entry in entries:
        if isinstance(entry.source, Path):
            with entry.source.open("rb") as file:
                yield from _member(entry, os.fstat(file.fileno()).st_size, iter(partial(file.read, PIECE), b""))
        elif isinstance(entry.source, Distant):
            yield from _member(entry, entry.source.size, entry.source.give())
        else:
            content = entry.source or b""
            yield from _member(entry, len(content), iter((content,)))
    yield b"\0" * 2 * _BLOCK


def _member(entry: Entry, size: int, content: Iterator[bytes]) -> Iterator[bytes]:
    """One entry: its header, its content, and what fills its last block."""
    info = tarfile.TarInfo(entry.path)
    info.mode = entry.mode
    if entry.source is None:
        info.type = tarfile.DIRTYPE
    info.size = size
    yield info.tobuf(tarfile.PAX_FORMAT)
    left = size
    for piece in content:
        left -= len(piece)
        yield piece
        if left <= 0:
            break
    if left:
        raise OSError(f"`{entry.path}` changed its size while it was read")
    yield b"\0" * (-size % _BLOCK)


class Stream(io.RawIOBase):
    """Chunks as a file that can be read once, from its start to its end."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        """It can be read, and nothing else."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the buffer with what the next chunk has for it; 0 at the end."""
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = chunk
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def reading(chunks: Iterator[bytes]) -> tarfile.TarFile:
    """An archive that arrives in chunks, to be read member by member. Raises tarfile.TarError when it is none."""
    return tarfile.open(fileobj=io.BufferedReader(Stream(chunks), PIECE), mode="r|")
