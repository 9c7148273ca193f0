"""HTTP servers of the tests' own, each on a free port for as long as somebody needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

_LOOKS_AFTER = 0.02
"""Seconds after which a server finds out that it is to end; by default half of one."""


class Quiet:
    """A handler's first base: it says nothing of the requests that it gets."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def answering(handler: Callable[..., BaseHTTPRequestHandler], address: str = "127.0.0.1") -> Iterator[str]:
    """The `host:port`, at an address of this machine, where a handler answers."""
    with ThreadingHTTPServer((address, 0), handler) as server:
        thread = Thread(target=server.serve_forever, args=(_LOOKS_AFTER,))
        thread.start()
        try:
            yield f"{address}:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
