"""Objects in a folder: `s3://BUCKET/KEY` is the file `ROOT/BUCKET/KEY`.

Every write goes to a temporary file that is renamed when it is whole. A name that could leave the folder, or that a
file system cannot hold, is refused. Blocking work runs in threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import secrets
import stat
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from flytebuild.runtime.model import now
from flytebuild.runtime.uploads import Uploads
from flytebuild.runtime.writing import Writer

BUCKET = "flytebuild"
"""The bucket of everything that the control plane names itself."""

FULL = (errno.ENOSPC, errno.EDQUOT)
"""The system's errors for a disk without room."""

PIECE = 1 << 20
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,62}")
_WORK = ".work"


class ObjectNameError(ValueError):
    """Raised for a bucket or a key that cannot be a path below the folder."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An object as listings show it; `tag` changes whenever its content does, `modified` is in seconds."""

    key: str
    size: int
    modified: float
    tag: str


class ObjectStore:
    """The objects below one folder."""

    base = f"s3://{BUCKET}"

    def __init__(self, root: Path) -> None:
        self.root = root
        self._full: datetime | None = None
        self._work = root / _WORK
        self._work.mkdir(parents=True, exist_ok=True)
        self._uploads = Uploads(self._work)
        # What an earlier process was writing is of no use to anybody; uploads in parts may go on.
        for path in self._work.iterdir():
            if path.is_file():
                path.unlink(missing_ok=True)
        self.sweep()

    # Names

    def path(self, bucket: str, key: str) -> Path:
        """The file of an object, whether or not it exists.

        Raises ObjectNameError.
        """
        return self.root.joinpath(bucket, *_segments(bucket, key))

    def path_of(self, uri: str) -> Path:
        """The file of an object that is given as `s3://BUCKET/KEY`.

        Raises ObjectNameError.
        """
        return self.path(*check_uri(uri))

    # Whole objects

    async def read(self, uri: str) -> bytes | None:
        """An object's content, or None when there is none."""
        path = self.path_of(uri)

        def load() -> bytes | None:
            try:
                return path.read_bytes()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return None

        return await asyncio.to_thread(load)

    async def write(self, uri: str, content: bytes) -> None:
        """Create or replace an object."""
        async with self.writer(self.path_of(uri)) as writer:
            await writer.write(content)

    async def size(self, uri: str) -> int | None:
        """An object's size in bytes, or None when there is no object."""
        status = self.status(self.path_of(uri))
        return status.st_size if status else None

    async def below(self, uri: str) -> dict[str, int]:
        """The objects below an address: their sizes by the rest of their names."""
        bucket, key = check_uri(uri)
        found = await asyncio.to_thread(self.entries, bucket, f"{key}/")
        return {entry.key.removeprefix(f"{key}/"): entry.size for entry in found}

    def file(self, uri: str) -> Path | None:
        """The file of an object."""
        return self.path_of(uri)

    def check(self, uri: str) -> None:
        """Raises ObjectNameError for what cannot be an object here."""
        self.path_of(uri)

    def was_full(self, since: datetime) -> bool:
        """Whether an object has found no room since then."""
        return self._full is not None and self._full >= since

    def reading(self, uri: str) -> AsyncIterator[bytes]:
        """A whole object in pieces; FileNotFoundError where there is none."""
        return self.pieces(self.path_of(uri), 0, sys.maxsize)

    def writing(self, uri: str) -> AbstractAsyncContextManager[Writer]:
        """A writer of an object, which is there when the block has ended well."""
        return self.writer(self.path_of(uri))

    def status(self, path: Path) -> os.stat_result | None:
        """Size and times of an object's file, or None when there is no object."""
        status = _status(path)
        return status if status and stat.S_ISREG(status.st_mode) else None

    # Streams

    @contextlib.asynccontextmanager
    async def writer(self, target: Path, *, is_new: bool = False) -> AsyncIterator[Writer]:
        """A file that becomes `target` when the block ends well, and vanishes when it does not.

        Raises FileExistsError at the end when `is_new` and there is one already, ObjectNameError when a part of the
        path is an object.
        """
        part = self._work / secrets.token_hex(12)
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._noting_full())
            file = stack.enter_context(part.open("xb", buffering=0))
            stack.callback(part.unlink, missing_ok=True)
            writer = Writer(file)
            yield writer
            await writer.flush()
            file.close()
            await asyncio.to_thread(_publish, part, target, is_new)

    async def pieces(self, path: Path, start: int, length: int) -> AsyncIterator[bytes]:
        """`length` bytes of a file from `start`; shorter when the file is."""
        with await asyncio.to_thread(path.open, "rb") as file:
            file.seek(start)
            while length > 0 and (piece := await asyncio.to_thread(file.read, min(PIECE, length))):
                length -= len(piece)
                yield piece

    # Uploads in parts

    def begin_parts(self, target: Path) -> str:
        """A new identifier for an upload in parts of one object."""
        with self._noting_full():
            return self._uploads.begin(target.relative_to(self.root))

    def target(self, upload: str) -> Path:
        """The object that an upload is of. Raises FileNotFoundError when there is no such upload."""
        return self.root / self._uploads.target(upload)

    @contextlib.asynccontextmanager
    async def part_writer(self, upload: str, number: int, size: int | None) -> AsyncIterator[Writer]:
        """A writer of one part, which counts when the block ends well; `size` is in bytes, where it is known before."""
        with self._noting_full():
            async with self._uploads.writer(upload, number, size) as writer:
                yield writer

    async def join_parts(self, upload: str, numbers: Sequence[int], target: Path) -> None:
        """Make one object of the parts, in the given order, and forget the upload.

        Raises FileNotFoundError when a part is missing.
        """
        with self._noting_full():
            whole = await asyncio.to_thread(self._uploads.whole, upload, numbers)
            if whole is not None:
                await asyncio.to_thread(_publish, whole, target, False)
            else:
                async with self.writer(target) as writer:
                    await asyncio.to_thread(self._uploads.copy, upload, numbers, writer.file)
        await self.drop_parts(upload)

    async def drop_parts(self, upload: str) -> None:
        """Forget an upload in parts and what was received of it."""
        await asyncio.to_thread(self._uploads.drop, upload)

    def sweep(self) -> int:
        """Remove uploads in parts that nobody has gone on with for a day; how many those were."""
        return self._uploads.sweep(time.time())

    @contextlib.contextmanager
    def _noting_full(self) -> Iterator[None]:
        """Note where an object finds no room, whoever brings it."""
        try:
            yield
        except OSError as error:
            if error.errno in FULL:
                self._full = now()
            raise

    # Listings and removal

    def entries(self, bucket: str, prefix: str) -> list[Entry]:
        """All objects whose key begins with `prefix`, ordered by key."""
        top = self.path(bucket, "x").parent
        folder, _, _ = prefix.rpartition("/")
        start = self.path(bucket, folder) if folder else top
        found = [
            Entry(key, status.st_size, status.st_mtime, tag_of(status))
            for path in _files(start)
            if (key := path.relative_to(top).as_posix()).startswith(prefix) and (status := _status(path))
        ]
        return sorted(found, key=lambda entry: entry.key.encode())

    def remove(self, path: Path) -> None:
        """Remove an object if it is there, and the folders that it leaves empty."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError):
            path.unlink()
        for parent in path.parents:
            if parent == self.root:
                break
            try:
                parent.rmdir()
            except OSError:
                break


def check_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of `s3://BUCKET/KEY`.

    Raises ObjectNameError for what cannot be the address of an object.
    """
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3":
        raise ObjectNameError(f"`{uri}` is not in the object store")
    _segments(bucket, key)
    return bucket, key


def tag_of(status: os.stat_result) -> str:
    """An entity tag: objects are replaced by renaming, so time, size and inode tell versions apart."""
    return f'"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"'


def _segments(bucket: str, key: str) -> list[str]:
    parts = key.split("/")
    if not _BUCKET.fullmatch(bucket) or any(not _is_segment(part) for part in parts):
        raise ObjectNameError(f"`{bucket}/{key}` is not a valid object name")
    return parts


def _is_segment(part: str) -> bool:
    return part not in ("", ".", "..") and "\0" not in part and len(part.encode("utf-8", "replace")) <= 255


def _publish(part: Path, target: Path, is_new: bool) -> None:
    try:
        for _ in range(8):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                if is_new:
                    os.link(part, target)
                else:
                    os.replace(part, target)
                return
            except FileNotFoundError:
                # A removal next door took the empty folder away between the two steps.
                continue
    except (NotADirectoryError, IsADirectoryError) as error:
        raise ObjectNameError(f"`{target.name}` would be an object and a folder at once") from error
    except FileExistsError as error:
        if is_new and target.is_file():
            raise
        raise ObjectNameError(f"`{target.name}` would be an object and a folder at once") from error
    raise ObjectNameError(f"`{target.name}` cannot be written: its folder keeps vanishing")


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        for name in names:
            yield Path(parent, name)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
