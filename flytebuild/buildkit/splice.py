"""Joining two byte streams, and a private door through which grpcio reaches a stream that we dialled.

grpcio cannot adopt a connected socket. So we listen on a Unix socket in a private folder, and join every connection
that grpcio makes to it with one that we open ourselves.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

CHUNK = 256 * 1024
"""Bytes that are moved at once."""


def splice(one: socket.socket, other: socket.socket) -> list[threading.Thread]:
    """Copy both ways until both directions have ended, then close both sockets."""
    threads = [
        threading.Thread(target=_pump, args=pair, daemon=True, name="flytebuild-splice")
        for pair in ((one, other), (other, one))
    ]
    for thread in threads:
        thread.start()
    return threads


def _pump(source: socket.socket, target: socket.socket) -> None:
    buffer = memoryview(bytearray(CHUNK))
    with contextlib.suppress(OSError):
        while count := source.recv_into(buffer):
            target.sendall(buffer[:count])
    # HTTP/2 has no use for half-open connections: the end of one direction is the end of both.
    close(source)
    close(target)


def close(connection: socket.socket) -> None:
    """Shut a socket down, which wakes every thread that waits on it, and close it."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


class Bridge:
    """A Unix socket whose every connection is joined to a fresh one from `dial`."""

    def __init__(self, dial: Callable[[], socket.socket]) -> None:
        self._dial = dial
        self._folder = tempfile.TemporaryDirectory(prefix="flytebuild-")
        self._path = Path(self._folder.name) / "bk.sock"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self._path))
        self._listener.listen()
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True, name="flytebuild-bridge")
        self._thread.start()

    @property
    def target(self) -> str:
        """What grpcio dials."""
        return f"unix:{self._path}"

    def close(self) -> None:
        """End all connections and remove the socket."""
        close(self._listener)
        for connection in self._connections:
            close(connection)
        self._thread.join()
        self._folder.cleanup()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = self._listener.accept()
                try:
                    dialled = self._dial()
                except OSError:
                    # grpcio sees a closed connection; who dials knows the reason.
                    accepted.close()
                    continue
                self._connections += [accepted, dialled]
                splice(accepted, dialled)
