"""The part of S3's protocol that Flyte's SDK speaks, over an `ObjectStore`: path-style, every request signed.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
What a request may do is its key's to say: the owner's may do everything, a container's what its run may.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import formatdate
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote
from xml.sax.saxutils import escape

from flytebuild.runtime import sigv4
from flytebuild.runtime.http import BodyError, Receive, Request, Response, Scope, Send
from flytebuild.runtime.reach import Access
from flytebuild.runtime.s3_documents import NAMESPACE, DocumentError, copied, listing, paginate, texts
from flytebuild.runtime.storage import FULL, ObjectNameError, ObjectStore, tag_of

log = logging.getLogger(__name__)

MAX_OBJECT = 5 << 30
"""The largest body of one request, which is S3's own limit."""

_MAX_DOCUMENT = 8 << 20


class S3Error(Exception):
    """An error that the protocol names; becomes the answer."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class Key:
    """An access key: its secret, and what it may do, which is asked for once a signature has shown that it is there."""

    secret: str = field(repr=False)
    enter: Callable[[], Access]


Keys: TypeAlias = Callable[[str], Key | None]
"""An access key by its identifier."""


class S3:
    """An ASGI application; paths are `PREFIX/BUCKET/KEY`."""

    def __init__(self, store: ObjectStore, keys: Keys, prefix: str = "/s3") -> None:
        self._store = store
        self._keys = keys
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except S3Error as error:
            response = _error(error.status, error.code, str(error))
        except ObjectNameError as error:
            response = _error(400, "InvalidArgument", str(error))
        except BodyError as error:
            response = _error(400, "EntityTooLarge", str(error))
        except DocumentError as error:
            response = _error(400, "MalformedXML", str(error))
        except OSError as error:
            if error.errno not in FULL:
                raise
            log.warning("an object could not be written: %s", error)
            # What clients do not try again for minutes: nothing is won by that.
            response = _error(403, "QuotaExceeded", f"The disk that objects are kept on is full: {error.strerror}")
        if request.method == "HEAD" and response.status >= 400:
            response = Response(response.status, b"", response.content_type)
        await response.send(send)

    async def _answer(self, request: Request) -> Response:
        access = self._authenticate(request)
        bucket, _, key = request.path.removeprefix(self._prefix).lstrip("/").partition("/")
        if not key:
            if request.method in ("GET", "HEAD"):
                return await self._list(bucket, request, access)
            if request.method == "POST" and "delete" in request.query:
                return await self._delete_many(bucket, request, access)
            raise S3Error(405, "MethodNotAllowed", "Buckets come and go by themselves")
        path = self._store.path(bucket, key)
        uri = f"s3://{bucket}/{key}"
        if request.method in ("GET", "HEAD"):
            _allow(access.may_read(uri))
            return await self._get(path, request)
        _allow(access.may_write(uri))
        if request.method == "PUT":
            return await self._put(path, request, access)
        if request.method == "POST":
            return await self._post(path, bucket, key, request)
        if request.method == "DELETE":
            if "uploadId" in request.query:
                await self._store.drop_parts(self._upload(path, request))
            else:
                await asyncio.to_thread(self._store.remove, path)
            return Response(204)
        raise S3Error(405, "MethodNotAllowed", f"`{request.method}` is not supported")

    def _authenticate(self, request: Request) -> Access:
        """What the key that a request is signed with may do."""
        try:
            signature = sigv4.read(request, datetime.now(timezone.utc))
        except sigv4.SignatureError as error:
            raise S3Error(403, "AccessDenied", str(error)) from error
        key = self._keys(signature.key_id)
        if key is None:
            raise S3Error(403, "InvalidAccessKeyId", "There is no such access key, or no longer")
        if not sigv4.is_made_with(key.secret, signature, request):
            raise S3Error(403, "SignatureDoesNotMatch", "The signature was not made with this key for this request")
        return key.enter()

    # Objects

    async def _get(self, path: Path, request: Request) -> Response:
        status = self._store.status(path)
        if status is None:
            raise S3Error(404, "NoSuchKey", "There is no such object")
        headers = [
            ("etag", tag_of(status)),
            ("last-modified", formatdate(status.st_mtime, usegmt=True)),
            ("accept-ranges", "bytes"),
        ]
        start, length, code = 0, status.st_size, 200
        if "range" in request.headers and (bounds := _range(request.headers["range"], status.st_size)):
            start, length = bounds
            code = 206
            headers.append(("content-range", f"bytes {start}-{start + length - 1}/{status.st_size}"))
        headers.append(("content-length", str(length)))
        pieces = None if request.method == "HEAD" else self._store.pieces(path, start, length)
        return Response(code, b"", "application/octet-stream", tuple(headers), pieces)

    async def _put(self, path: Path, request: Request, access: Access) -> Response:
        if "partNumber" in request.query:
            return await self._put_part(path, request, access)
        if "x-amz-copy-source" in request.headers:
            return await self._copy(path, request, access)
        is_new = request.headers.get("if-none-match") == "*"
        try:
            async with self._store.writer(path, is_new=is_new) as writer:
                async for piece in request.stream(MAX_OBJECT):
                    await writer.write(piece)
        except FileExistsError as error:
            raise S3Error(412, "PreconditionFailed", "The object exists already") from error
        return Response(200, headers=(("etag", self._tag(path)),))

    async def _put_part(self, path: Path, request: Request, access: Access) -> Response:
        number, length = request.query["partNumber"], request.headers.get("content-length", "")
        if not number.isdigit() or not 1 <= int(number) <= 10_000:
            raise S3Error(400, "InvalidArgument", "A part's number is from 1 to 10000")
        size = int(length) if length.isdigit() else None
        if size is not None and size > MAX_OBJECT:
            raise BodyError(f"the body is larger than {MAX_OBJECT} bytes")
        pieces, is_copy = request.stream(MAX_OBJECT), "x-amz-copy-source" in request.headers
        if is_copy:
            pieces, size = self._source(request, access)
        async with self._store.part_writer(self._upload(path, request), int(number), size) as writer:
            async for piece in pieces:
                await writer.write(piece)
        # What tells a part's versions apart is asked for by nobody: the upload is completed by their numbers.
        return _xml(copied("Part", f'"{number}"')) if is_copy else Response(200, headers=(("etag", f'"{number}"'),))

    async def _copy(self, path: Path, request: Request, access: Access) -> Response:
        pieces, _ = self._source(request, access)
        async with self._store.writer(path) as writer:
            async for piece in pieces:
                await writer.write(piece)
        return _xml(copied("Object", self._tag(path)))

    def _source(self, request: Request, access: Access) -> tuple[AsyncIterator[bytes], int]:
        """What an object to be copied consists of, and its size in bytes."""
        bucket, _, key = unquote(request.headers["x-amz-copy-source"]).lstrip("/").partition("/")
        source = self._store.path(bucket, key)
        _allow(access.may_read(f"s3://{bucket}/{key}"))
        found = self._store.status(source)
        if found is None:
            raise S3Error(404, "NoSuchKey", "There is no such object to copy")
        return self._store.pieces(source, 0, found.st_size), found.st_size

    async def _post(self, path: Path, bucket: str, key: str, request: Request) -> Response:
        names = f"<Bucket>{escape(bucket)}</Bucket><Key>{escape(key)}</Key>"
        if "uploads" in request.query:
            upload = self._store.begin_parts(path)
            return _xml(
                f"<InitiateMultipartUploadResult {NAMESPACE}>{names}<UploadId>{upload}</UploadId>"
                "</InitiateMultipartUploadResult>"
            )
        if "uploadId" not in request.query:
            raise S3Error(405, "MethodNotAllowed", "Form uploads are not supported")
        upload = self._upload(path, request)
        numbers = [int(text) for text in texts(await request.body(_MAX_DOCUMENT), "PartNumber") if text.isdigit()]
        try:
            await self._store.join_parts(upload, numbers, path)
        except FileNotFoundError as error:
            raise S3Error(400, "InvalidPart", "A part of the upload is missing") from error
        return _xml(
            f"<CompleteMultipartUploadResult {NAMESPACE}>{names}<ETag>{escape(self._tag(path))}</ETag>"
            "</CompleteMultipartUploadResult>"
        )

    def _tag(self, path: Path) -> str:
        status = self._store.status(path)
        return tag_of(status) if status else '""'  # Removed already by somebody else.

    def _upload(self, path: Path, request: Request) -> str:
        """The upload that a request names, which was begun for that very object."""
        upload: str = request.query.get("uploadId", "")
        try:
            is_for_it = self._store.target(upload) == path
        except FileNotFoundError:
            is_for_it = False
        if not is_for_it:
            raise S3Error(404, "NoSuchUpload", "There is no such upload of this object")
        return upload

    # Buckets

    async def _list(self, bucket: str, request: Request, access: Access) -> Response:
        self._store.path(bucket, "x")
        prefix = request.query.get("prefix", "")
        _allow(access.may_list(f"s3://{bucket}/{prefix}"))
        delimiter = request.query.get("delimiter", "")
        after = request.query.get("continuation-token") or request.query.get("start-after", "")
        text = request.query.get("max-keys", "1000")
        limit = min(int(text), 1000) if text.isdigit() else 1000
        try:
            entries = await asyncio.to_thread(self._store.entries, bucket, prefix)
        except ObjectNameError:
            entries = []  # No object can have such a name.
        page = paginate(entries, prefix, delimiter, after, limit)
        return _xml(listing(bucket, prefix, limit, page))

    async def _delete_many(self, bucket: str, request: Request, access: Access) -> Response:
        deleted, failed = [], []
        for key in texts(await request.body(_MAX_DOCUMENT), "Key"):
            try:
                path = self._store.path(bucket, key)
                _allow(access.may_write(f"s3://{bucket}/{key}"))
                await asyncio.to_thread(self._store.remove, path)
                deleted.append(f"<Deleted><Key>{escape(key)}</Key></Deleted>")
            except (ObjectNameError, S3Error) as error:
                code = error.code if isinstance(error, S3Error) else "InvalidArgument"
                failed.append(
                    f"<Error><Key>{escape(key)}</Key><Code>{code}</Code><Message>{escape(str(error))}</Message></Error>"
                )
        return _xml(f"<DeleteResult {NAMESPACE}>{''.join(deleted)}{''.join(failed)}</DeleteResult>")


def _allow(may: bool) -> None:
    if not may:
        raise S3Error(403, "AccessDenied", "The access key does not reach that far")


def _range(header: str, size: int) -> tuple[int, int] | None:
    """Start and length of a single range, or None where the header is to be ignored."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", header.strip())
    if not found or not (found[1] or found[2]):
        return None
    if not found[1]:
        start, end = max(size - int(found[2]), 0), size - 1
    else:
        start, end = int(found[1]), min(int(found[2]), size - 1) if found[2] else size - 1
    if start >= size or end < start:
        raise S3Error(416, "InvalidRange", f"The object has {size} bytes")
    return start, end - start + 1


def _xml(body: str, status: int = 200) -> Response:
    return Response(status, f'<?xml version="1.0" encoding="UTF-8"?>{body}'.encode(), "application/xml")


def _error(status: int, code: str, message: str) -> Response:
    return _xml(f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>", status)
