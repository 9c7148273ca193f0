"""A front on TCP that breaks connections in the middle of what they carry."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass
class Breaking:
    """Passes bytes on to `upstream` (`host:port`); the first `rest` requests that hold `part` are broken off.

    Some of what follows such a request goes through, then both ends are reset.
    """

    upstream: str
    part: bytes
    rest: int
    host: str = ""
    _connections: list[socket.socket] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def serve(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                ours, _ = listener.accept()
                name, _, port = self.upstream.partition(":")
                theirs = socket.create_connection((name, int(port)))
                self._connections += [ours, theirs]
                for pair in ((ours, theirs, True), (theirs, ours, False)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def end(self) -> None:
        for connection in self._connections:
            _close(connection)

    def _pump(self, source: socket.socket, target: socket.socket, is_request: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                if is_request and self._is_to_break(piece):
                    target.sendall(piece)
                    for connection in (source, target):
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                    break
                target.sendall(piece)
        _close(source)
        _close(target)

    def _is_to_break(self, piece: bytes) -> bool:
        with self._lock:
            if self.part not in piece or not self.rest:
                return False
            self.rest -= 1
            return True


def _close(connection: socket.socket) -> None:
    # Closed and not shut down: only so are the ends reset where that was asked for.
    with contextlib.suppress(OSError):
        connection.close()


@contextmanager
def breaking(upstream: str, part: bytes, times: int) -> Iterator[Breaking]:
    """Such a front on the loopback, for as long as it is entered."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = Breaking(upstream, part, times, f"127.0.0.1:{listener.getsockname()[1]}")
        threading.Thread(target=proxy.serve, args=(listener,), daemon=True).start()
        try:
            yield proxy
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            proxy.end()
