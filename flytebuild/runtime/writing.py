"""Writing a file from the event loop: in a thread, and seldom."""

from __future__ import annotations

import asyncio
import os
from io import FileIO

BATCH = 2 << 20
"""Bytes that are gathered before a thread is asked to write them: each time costs both threads their turn."""

_PIECES = 512
"""So many pieces at most; systems take 1,024 at a time."""


class Writer:
    """Gathers what comes in pieces, and writes it from where the file stands."""

    def __init__(self, file: FileIO) -> None:
        self.file = file
        self._pending: list[bytes] = []
        self._size = 0

    async def write(self, piece: bytes) -> None:
        """Append a piece."""
        self._pending.append(piece)
        self._size += len(piece)
        if self._size >= BATCH or len(self._pending) >= _PIECES:
            await self.flush()

    async def flush(self) -> None:
        """Hand everything to the file."""
        pending, self._pending, self._size = self._pending, [], 0
        if pending:
            await asyncio.to_thread(_write, self.file.fileno(), pending)


def _write(file: int, pieces: list[bytes]) -> None:
    """Write all of it, in one go where the system takes it."""
    left: list[memoryview] = [memoryview(piece) for piece in pieces if piece]
    while left:
        written = os.writev(file, left)
        while left and written >= len(left[0]):
            written -= len(left.pop(0))
        if left:
            left[0] = left[0][written:]
