"""A file on a server, of which only what is read is fetched: the end of an archive says where everything in it is."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import httpx

from flytebuild.wheels.servers import Servers, size_of

if TYPE_CHECKING:
    from typing_extensions import Buffer

_TAIL = 64 * 1024
"""Bytes of a file that are fetched at first: most wheels' lists of files are shorter, and their metadata is near."""

_SHORT = 1 << 20
"""Bytes of a file that is taken whole from a server that gives no end of it, rather than asked for once more."""


def fetch(servers: Servers, url: str) -> RemoteFile | bytes:
    """A file by its end, or all of it: where it is short, or its server gives no parts. Raises httpx.HTTPError."""
    with servers.part(url, f"-{_TAIL}") as answer:
        size = size_of(answer)
        if answer.status_code == httpx.codes.PARTIAL_CONTENT and size is not None:
            return _by_end(servers, url, size, answer.read())
        if answer.status_code == httpx.codes.OK and (size is None or size <= _SHORT):
            return answer.read()
    # Some servers know nothing of a file's last bytes: they give all of it, or say that this is a mistake (RFC 9110,
    # 15.5.17). By their numbers they may give them.
    with servers.part(url, "0-0") as answer:
        size = size_of(answer) if answer.status_code == httpx.codes.PARTIAL_CONTENT else None
    if size:
        with servers.part(url, f"{max(size - _TAIL, 0)}-{size - 1}") as answer:
            if answer.status_code == httpx.codes.PARTIAL_CONTENT:
                return _by_end(servers, url, size, answer.read())
    return servers.get(url).raise_for_status().content


def _by_end(servers: Servers, url: str, size: int, tail: bytes) -> RemoteFile | bytes:
    return RemoteFile(servers, url, size, tail) if len(tail) < size else tail


class RemoteFile(io.RawIOBase):
    """A file of `size` bytes, whose last ones are `tail`."""

    def __init__(self, servers: Servers, url: str, size: int, tail: bytes) -> None:
        self._servers, self._url, self._size, self._tail = servers, url, size, tail
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = start + offset
        return self._place

    def readinto(self, buffer: Buffer) -> int:
        space = memoryview(buffer)
        content = self._content(self._place, min(self._place + len(space), self._size))
        space[: len(content)] = content
        self._place += len(content)
        return len(content)

    def _content(self, start: int, end: int) -> bytes:
        """The bytes from `start` to before `end`; fewer where those after them are known."""
        known = self._size - len(self._tail)
        if start >= end:
            return b""
        if start >= known:
            return self._tail[start - known : end - known]
        with self._servers.part(self._url, f"{start}-{min(end, known) - 1}") as answer:
            return answer.raise_for_status().read()
