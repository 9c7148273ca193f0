"""As much of HTTP over ASGI as the control plane's own pages and its object store need."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, quote

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class BodyError(Exception):
    """Raised when a request's body is too large, or its sender went away in the middle."""


class Request:
    """One request; `path` is decoded and `raw_path` is not, header names are in lower case."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.raw_path = (scope.get("raw_path") or quote(scope["path"]).encode()).decode("latin-1")
        self.raw_query = scope.get("query_string", b"").decode("latin-1")
        self.query = dict(parse_qsl(self.raw_query, keep_blank_values=True))
        self.headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        self._receive = receive

    async def stream(self, limit: int) -> AsyncIterator[bytes]:
        """The body in pieces as they arrive; BodyError after `limit` bytes."""
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise BodyError("the client went away")
            size += len(message.get("body", b""))
            if size > limit:
                raise BodyError(f"the body is larger than {limit} bytes")
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body"):
                return

    async def gone(self) -> None:
        """Wait until the client goes away."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def body(self, limit: int) -> bytes:
        """The whole body."""
        return b"".join([piece async for piece in self.stream(limit)])


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; `pieces` replace `body` where the answer is made while it is sent."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    pieces: AsyncIterator[bytes] | None = field(default=None, compare=False)

    async def send(self, send: Send) -> None:
        """Send it all."""
        headers = [("content-type", self.content_type), *self.headers]
        if self.pieces is None and not any(name == "content-length" for name, _ in headers):
            headers.append(("content-length", str(len(self.body))))
        await send({"type": "http.response.start", "status": self.status, "headers": _encode(headers)})
        if self.pieces is None:
            await send({"type": "http.response.body", "body": self.body})
            return
        async for piece in self.pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def json_response(document: object, status: int = 200) -> Response:
    """A JSON document as an answer."""
    return Response(status, json.dumps(document, ensure_ascii=False).encode(), "application/json")


def text_response(text: str, status: int = 200) -> Response:
    """Plain text as an answer."""
    return Response(status, text.encode("utf-8", "replace"))


def _encode(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers]
