"""Joining two byte streams, and a private door through which a library reaches a stream that we dialled.

Neither grpcio nor Docker's SDK adopts a connected socket. So we listen on a Unix socket in a private folder, and join
every connection that the library makes to it with one that we open ourselves.
"""

from __future__ import annotations

import contextlib
import select
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

CHUNK = 256 * 1024
"""Bytes that are moved at once."""


def splice(one: socket.socket, other: socket.socket) -> list[threading.Thread]:
    """Copy both ways until both directions have ended, or until one side has gone; then close both sockets."""
    ended: list[socket.socket] = []
    threads = [
        threading.Thread(target=_pump, args=(*pair, ended), daemon=True, name="flytebuild-splice")
        for pair in ((one, other), (other, one))
    ]
    for thread in threads:
        thread.start()
    return threads


def _pump(source: socket.socket, target: socket.socket, ended: list[socket.socket]) -> None:
    buffer = memoryview(bytearray(CHUNK))
    try:
        while count := source.recv_into(buffer):
            target.sendall(buffer[:count])
        ended.append(source)
        if len(ended) == 1 and not _has_gone(source):
            # Whoever has said all may still listen.
            target.shutdown(socket.SHUT_WR)
            return
    except (OSError, ValueError):  # Closed meanwhile by the other direction.
        pass
    close(source)
    close(target)


def _has_gone(source: socket.socket) -> bool:
    """Whether the other side of a connection that has ended does not listen any more; a local one tells."""
    if source.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(source, 0)
    return any(event & select.POLLHUP for _, event in poll.poll(0))


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

    @property
    def url(self) -> str:
        """What Docker's SDK dials."""
        return f"unix://{self._path}"

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
                    # The library sees a closed connection; who dials knows the reason.
                    accepted.close()
                    continue
                self._connections = [item for item in self._connections if item.fileno() >= 0]
                self._connections += [accepted, dialled]
                splice(accepted, dialled)
