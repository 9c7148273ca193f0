"""A registry's front: passes everything on to a real registry, keeps account of it, and can answer in its place."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn

_HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"upgrade"}


@dataclass
class Call:
    """One request: `sent` and `received` are the bytes of the client's body and of the answer's, as far as it is."""

    method: str
    path: str
    status: int
    sent: int
    received: int


Answer = Callable[[str, str, httpx.Headers], int | None]
"""Given a request's method, path and headers: the status to refuse it with, or None to pass it on, or HANG."""

HANG = 0
"""The request is taken, and never answered."""


Rewrite = Callable[[str, str], str]
"""Given a request's method and query (`?…` or nothing): the query to pass on."""


@dataclass
class RegistryProxy:
    """`host` is where it answers. `calls` grows by each request, before its client gets the answer.

    `pace` is in how many bytes per second each upload is passed on.
    """

    upstream: str
    answer: Answer | None = None
    rewrite: Rewrite | None = None
    pace: int | None = None
    calls: list[Call] = field(default_factory=list)
    host: str = ""

    def downloads(self, below: str = "") -> list[Call]:
        """The blobs that were fetched from repositories with this prefix."""
        return [call for call in self._blobs("GET") if call.status == 200 and call.path.startswith(f"/v2/{below}")]

    def uploads(self, below: str = "") -> list[Call]:
        """The requests that brought content of blobs into repositories with this prefix."""
        made = [*self._blobs("PATCH"), *self._blobs("PUT")]
        return [call for call in made if call.sent and call.path.startswith(f"/v2/{below}")]

    def _blobs(self, method: str) -> list[Call]:
        return [call for call in self.calls if call.method == method and "/blobs/" in call.path]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        method, path = scope["method"], scope["path"]
        headers = [(name, value) for name, value in scope["headers"] if name not in _HOP_BY_HOP]
        has_body = any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])
        status = self.answer(method, path, httpx.Headers(headers)) if self.answer else None
        if status is not None:
            self.calls.append(Call(method, path, status, 0, 0))
            while status == HANG:
                if (await receive())["type"] == "http.disconnect":
                    return
            await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body"})
            return
        sent = 0

        async def body() -> AsyncIterator[bytes]:
            nonlocal sent
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ConnectionAbortedError
                more = message.get("more_body", False)
                piece = message.get("body", b"")
                sent += len(piece)
                if self.pace:
                    await asyncio.sleep(len(piece) / self.pace)
                yield piece

        query = "?" + scope["query_string"].decode() if scope["query_string"] else ""
        if self.rewrite:
            query = self.rewrite(method, query)
        request = self._client.build_request(
            method, f"http://{self.upstream}{path}{query}", headers=headers, content=body() if has_body else None
        )
        try:
            response = await self._client.send(request, stream=True)
        except ConnectionAbortedError:
            return
        call = Call(method, path + query, response.status_code, sent, 0)
        self.calls.append(call)
        passed = [(name, value) for name, value in response.headers.raw if name.lower() not in _HOP_BY_HOP]
        await send({"type": "http.response.start", "status": response.status_code, "headers": passed})
        async for chunk in response.aiter_raw():
            call.received += len(chunk)
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await response.aclose()
        await send({"type": "http.response.body"})

    async def _serve(self, server: uvicorn.Server) -> None:
        async with httpx.AsyncClient(timeout=60) as self._client:
            await server.serve()


@contextmanager
def proxied(upstream: str, answer: Answer | None = None) -> Iterator[RegistryProxy]:
    """A proxy on the loopback in front of `upstream` (`host:port`), for as long as it is entered."""
    proxy = RegistryProxy(upstream, answer)
    # BuildKit tries TLS first, which is worth a warning to uvicorn each time.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    options: dict[str, Any] = {"log_config": None, "lifespan": "off", "timeout_graceful_shutdown": 1}
    server = uvicorn.Server(uvicorn.Config(proxy, host="127.0.0.1", port=0, **options))
    started = threading.Event()
    startup = server.startup

    async def tell(*args: Any, **options: Any) -> None:
        await startup(*args, **options)
        proxy.host = f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        started.set()

    server.startup = tell  # type: ignore[method-assign]
    thread = threading.Thread(target=lambda: asyncio.run(proxy._serve(server)), name="registry-proxy")
    thread.start()
    try:
        assert started.wait(20)
        yield proxy
    finally:
        server.should_exit = True
        thread.join()
