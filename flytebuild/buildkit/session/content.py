"""A folder of blobs that a session lends BuildKit, for its `local` cache (containerd `services.content.v1.Content`).

The folder is an OCI image layout's: `blobs/sha256/…`. A blob is there under its name when it is whole and its digest
is right; what is being written lies in `ingest`.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from flytebuild.buildkit._pb import content_pb2 as pb
from flytebuild.buildkit.session.providers import (
    NOT_FOUND,
    UNKNOWN,
    Provider,
    RefusedCallError,
    StreamProvider,
)

_SERVICE = "/containerd.services.content.v1.Content"
_INVALID, _EXISTS = 3, 6
_CHUNK = 1 << 20
_HEX = frozenset("0123456789abcdef")


class BlobFolder(Struct, frozen=True):
    """The blobs below `folder`, which need not be there yet."""

    folder: Path

    def path(self, digest: str) -> Path:
        """Where a blob is, or would be. Raises RefusedCallError for what is no SHA-256 digest."""
        algorithm, _, value = digest.partition(":")
        if algorithm != "sha256" or len(value) != 64 or not set(value) <= _HEX:
            raise RefusedCallError(_INVALID, "only blobs with a SHA-256 digest are kept")
        return self.folder / "blobs" / algorithm / value

    def providers(self) -> tuple[Provider | StreamProvider, ...]:
        """What a session offers of it."""
        return (
            _Unary(f"{_SERVICE}/Info", self._info),
            _Unary(f"{_SERVICE}/Status", self._status),
            _Unary(f"{_SERVICE}/Abort", lambda _: b""),
            _Stream(f"{_SERVICE}/Read", self._read),
            _Stream(f"{_SERVICE}/Write", self._write),
        )

    def _info(self, request: bytes) -> bytes:
        digest = pb.InfoRequest.FromString(request).digest
        info = pb.Info(digest=digest, size=self._existing(digest).stat().st_size)
        return bytes(pb.InfoResponse(info=info).SerializeToString())

    def _status(self, request: bytes) -> bytes:
        # Nothing that was broken off is gone on with.
        raise RefusedCallError(NOT_FOUND, f"nothing is being written as `{pb.StatusRequest.FromString(request).ref}`")

    def _read(self, requests: Iterator[bytes]) -> Iterator[bytes]:
        request = pb.ReadContentRequest.FromString(next(requests))
        path = self._existing(request.digest)
        left = request.size or path.stat().st_size - request.offset
        with path.open("rb") as file:
            offset = file.seek(request.offset)
            while left > 0 and (data := file.read(min(left, _CHUNK))):
                yield bytes(pb.ReadContentResponse(offset=offset, data=data).SerializeToString())
                offset += len(data)
                left -= len(data)

    def _write(self, requests: Iterator[bytes]) -> Iterator[bytes]:
        """Take one blob: what is asked for is answered at once, so that the writer knows where it stands."""
        ingest = self.folder / "ingest"
        part = ingest / secrets.token_hex(8)
        try:
            ingest.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                yield from self._ingest(requests, part, file.write, file.flush)
        except OSError as error:
            words = f"the cache in `{self.folder}` cannot be written ({error.strerror})"
            raise RefusedCallError(UNKNOWN, words) from error
        finally:
            part.unlink(missing_ok=True)

    def _ingest(
        self, requests: Iterator[bytes], part: Path, write: Callable[[bytes], int], flush: Callable[[], None]
    ) -> Iterator[bytes]:
        found, size = hashlib.sha256(), 0
        for raw in requests:
            request = pb.WriteContentRequest.FromString(raw)
            if request.expected and self.path(request.expected).exists():
                raise RefusedCallError(_EXISTS, f"blob {request.expected} is there already")
            if request.data:
                if request.offset != size:
                    raise RefusedCallError(_INVALID, f"{size} bytes were written, not {request.offset}")
                write(request.data)
                found.update(request.data)
                size += len(request.data)
            digest = f"sha256:{found.hexdigest()}"
            if request.action == pb.COMMIT:
                if request.expected not in ("", digest) or request.total not in (0, size):
                    raise RefusedCallError(_INVALID, f"what was written is {digest} and not {request.expected}")
                flush()
                place = self.path(digest)
                place.parent.mkdir(parents=True, exist_ok=True)
                os.replace(part, place)
            answer = pb.WriteContentResponse(action=request.action, offset=size, total=request.total, digest=digest)
            yield bytes(answer.SerializeToString())
            if request.action == pb.COMMIT:
                return

    def _existing(self, digest: str) -> Path:
        path = self.path(digest)
        if not path.is_file():
            raise RefusedCallError(NOT_FOUND, f"blob {digest} is not there")
        return path


class _Unary(Struct, frozen=True):
    method: str
    serve: Callable[[bytes], bytes]

    def answer(self, request: bytes) -> bytes:
        return self.serve(request)


class _Stream(Struct, frozen=True):
    method: str
    serve: Callable[[Iterator[bytes]], Iterator[bytes]]

    def exchange(self, requests: Iterator[bytes], metadata: Mapping[str, Sequence[str]]) -> Iterator[bytes]:
        return self.serve(requests)
