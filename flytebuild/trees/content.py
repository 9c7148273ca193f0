"""Digests of files' content: what is read is what `lstat` saw, or the file is named as changed.

Files of the page cache are read one after the other, which two cores do as fast as eight threads; the others by a few
threads, which keeps a disk busy.

Large files are read in pieces, the next one while the last is hashed on all cores, and never mapped: a mapped file
counts as memory in whole, and one that is cut short while it is mapped kills the process. It costs no time: 2 GiB took
0.28 s and 20 MiB of memory, BLAKE3's own mapping 0.28 s and 2 GiB (two cores). That takes buffers at the start of a
page, which copies a fifth faster than into a `bytearray`, 0.35 s.
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from blake3 import blake3
from msgspec import Struct

from flytebuild.errors import SourceChangedError
from flytebuild.trees.problems import shown, unreadable
from flytebuild.trees.statcache import stamp

LARGE = 1 << 20
"""Bytes from which on a file is read in pieces and hashed on all cores."""

_PIECE = 4 << 20
_THREADS = 8
_BATCH = 64

# Reads that fail rather than wait for a disk; not every system has them, nor every file system.
_AT_ONCE = getattr(os, "RWF_NOWAIT", 0)
_OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Unread(Struct, frozen=True):
    """A file whose content is wanted: where it is, what `lstat` saw, and its place in the caller's list."""

    path: bytes
    stamp: bytes
    size: int
    index: int


def digests(files: Sequence[Unread]) -> Iterator[tuple[Unread, bytes]]:
    """Each file's digest, in any order. Raises SourceError with the path of a file that changed or cannot be read."""
    waiting: list[Unread] = []
    with _Pieces() as pieces:
        buffer = pieces.buffers[0]
        for file in files:
            try:
                digest = _digest(file, buffer, _AT_ONCE, pieces if file.size >= LARGE else None)
            except BlockingIOError:
                waiting.append(file)
            else:
                yield file, digest
    if waiting:
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="read") as pool:
            try:
                for found in pool.map(_batch, _batches(waiting)):
                    yield from found
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def read(descriptor: int, buffer: memoryview, offset: int, flags: int) -> int:
    """Read what fits at an offset: how many bytes; 0 is the end."""
    return os.preadv(descriptor, [buffer], offset, flags)


def _batches(files: list[Unread]) -> Iterator[list[Unread]]:
    remaining = iter(files)
    while batch := list(islice(remaining, _BATCH)):
        yield batch


def _batch(files: list[Unread]) -> list[tuple[Unread, bytes]]:
    buffer = _buffer(LARGE)
    return [(file, _digest(file, buffer, 0)) for file in files]


def _digest(file: Unread, buffer: memoryview, flags: int, pieces: _Pieces | None = None) -> bytes:
    """A file's digest; large ones want `pieces`. BlockingIOError: it is not at hand, and the flags forbid to wait."""
    try:
        descriptor = os.open(file.path, _OPEN_FLAGS)
        try:
            digest = _large(descriptor, file, pieces) if pieces else _small(descriptor, file, buffer, flags)
            if stamp(os.fstat(descriptor)) != file.stamp:
                raise SourceChangedError(shown(file.path))
            return digest
        finally:
            os.close(descriptor)
    except BlockingIOError:
        raise
    except OSError as error:
        raise unreadable(file.path, error) from error


class _Pieces:
    """Two buffers for large files, and the thread that fills one while the other is hashed."""

    def __init__(self) -> None:
        self.buffers = (_buffer(_PIECE), _buffer(_PIECE))
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")

    def read_ahead(self, descriptor: int, number: int, offset: int) -> Future[int]:
        """Fill the buffer of the piece of that number."""
        return self._reader.submit(read, descriptor, self.buffers[number % 2], offset, 0)

    def __enter__(self) -> _Pieces:
        return self

    def __exit__(self, *_error: object) -> None:
        self._reader.shutdown()


def _buffer(size: int) -> memoryview:
    return memoryview(mmap.mmap(-1, size))


def _small(descriptor: int, file: Unread, buffer: memoryview, flags: int) -> bytes:
    # One byte of room more than the file should need: a file that has grown fills it.
    room = buffer[: file.size + 1]
    count = _at_hand(descriptor, room, flags) if flags else _fill(descriptor, room)
    if count < file.size and flags:
        # Only some of it was at hand, or it was cut: a read that waits will tell.
        raise BlockingIOError
    if count != file.size:
        raise SourceChangedError(shown(file.path))
    return blake3(buffer[:count]).digest()


def _at_hand(descriptor: int, buffer: memoryview, flags: int) -> int:
    try:
        return read(descriptor, buffer, 0, flags)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
        return _fill(descriptor, buffer)


def _fill(descriptor: int, buffer: memoryview) -> int:
    total = 0
    while total < len(buffer) and (count := read(descriptor, buffer[total:], total, 0)):
        total += count
    return total


def _large(descriptor: int, file: Unread, pieces: _Pieces) -> bytes:
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    hasher = blake3(max_threads=blake3.AUTO)
    total = number = 0
    count = read(descriptor, pieces.buffers[0], 0, 0)
    while count:
        total += count
        ahead = pieces.read_ahead(descriptor, number + 1, total) if total < file.size else None
        hasher.update(pieces.buffers[number % 2][:count])
        number += 1
        count = ahead.result() if ahead else 0
    if total != file.size:
        raise SourceChangedError(shown(file.path))
    return hasher.digest()
