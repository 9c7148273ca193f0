"""How much of a request is read, whoever sends it: its body as it comes, and what it becomes when it is unpacked."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from connectrpc.code import Code
from connectrpc.compression.gzip import GzipCompression
from connectrpc.errors import ConnectError

from flytebuild.runtime.http import Message, Receive

_GZIP = 16 + zlib.MAX_WBITS
"""zlib's number for gzip's frame around a stream."""


class BoundedGzip(GzipCompression):
    """gzip that unpacks no more than `limit` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def decompress(self, data: bytes | bytearray | memoryview) -> bytes:
        """Raises ConnectError for what is not gzip, or is more."""
        unpacker = zlib.decompressobj(_GZIP)
        try:
            found = unpacker.decompress(data, self._limit + 1)
        except zlib.error as error:
            raise ConnectError(Code.INVALID_ARGUMENT, "the message cannot be unpacked") from error
        if len(found) > self._limit:
            raise ConnectError(Code.RESOURCE_EXHAUSTED, f"the message is larger than {self._limit} bytes")
        return found


def is_longer(headers: Mapping[bytes, bytes], limit: int) -> bool:
    """Whether a request says that its body is longer."""
    length = headers.get(b"content-length", b"0")
    return length.isdigit() and int(length) > limit


def bounded(receive: Receive, limit: int) -> Receive:
    """A request's body that ends, as if its sender had gone away, where it is longer than it may be."""
    size = 0

    async def receive_bounded() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        return message if size <= limit else {"type": "http.disconnect"}

    return receive_bounded
