"""Tar archives as they are written and read, never held: how files go into containers and come out of them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

PIECE = 1 << 20
"""Bytes that are in memory at the same time."""

_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True, slots=True)
class Entry:
    """A file at `path`, without its leading slash: a file of this machine or these bytes; without either, a folder."""

    path: str
    source: Path | bytes | None = field(repr=False)
    mode: int


def pieces(entries: Iterable[Entry]) -> Iterator[bytes]:
    """An archive of the entries, in their order. Raises OSError for a file that cannot be read."""
    for entry in entries:
        if isinstance(entry.source, Path):
            with entry.source.open("rb") as file:
                yield from _member(entry, file)
        else:
            yield from _member(entry, io.BytesIO(entry.source or b""))
    yield b"\0" * 2 * _BLOCK


def _member(entry: Entry, file: IO[bytes]) -> Iterator[bytes]:
    """One entry: its header, its content, and what fills its last block."""
    info = tarfile.TarInfo(entry.path)
    info.mode = entry.mode
    if entry.source is None:
        info.type = tarfile.DIRTYPE
    else:
        info.size = file.seek(0, io.SEEK_END)
        file.seek(0)
    yield info.tobuf(tarfile.PAX_FORMAT)
    left = info.size
    while left:
        piece = file.read(min(PIECE, left))
        if not piece:
            raise OSError(f"`{entry.path}` became shorter while it was read")
        left -= len(piece)
        yield piece
    yield b"\0" * (-info.size % _BLOCK)


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
