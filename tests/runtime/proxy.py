"""A Unix socket in front of the real engine, which can be cut, fall silent, and come back."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

from flytebuild import engine
from flytebuild.streams.dial import dial
from flytebuild.streams.splice import close


class Proxy:
    """Passes bytes between its own socket and the engine's; `sent` is what clients have sent so far."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "engine.sock"
        self.sent = bytearray()
        self._flows = threading.Event()
        self._flows.set()
        self._unanswered = b""
        self._connections: list[socket.socket] = []
        self._listener = self._listen()

    @property
    def url(self) -> str:
        """What `DOCKER_HOST` would say."""
        return f"unix://{self._path}"

    def cut(self) -> None:
        """The engine goes away: connections break, nobody answers."""
        close(self._listener)
        self._path.unlink()
        for connection in self._connections:
            close(connection)
        self._connections.clear()

    def come_back(self) -> None:
        """The engine is there again."""
        self._listener = self._listen()

    def fall_silent(self) -> None:
        """The engine hangs: it accepts, and says nothing."""
        self._flows.clear()

    def swallow_answer(self, request: bytes) -> None:
        """The engine does what the next request with these bytes asks for, and its answer is lost."""
        self._unanswered = request

    def end(self) -> None:
        """Let every thread go."""
        self._flows.set()
        with contextlib.suppress(FileNotFoundError):
            self.cut()

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self._path))
        listener.listen()
        threading.Thread(target=self._serve, args=(listener,), daemon=True).start()
        return listener

    def _serve(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                ours, _ = listener.accept()
                theirs = dial(engine.locate())
                self._connections += [ours, theirs]
                is_muted = threading.Event()
                for source, target, is_sent in ((ours, theirs, True), (theirs, ours, False)):
                    threading.Thread(target=self._pump, args=(source, target, is_sent, is_muted), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, is_sent: bool, is_muted: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                self._flows.wait()
                if is_sent:
                    self.sent += piece
                    if self._unanswered and self._unanswered in piece:
                        self._unanswered = b""
                        is_muted.set()
                if is_sent or not is_muted.is_set():
                    target.sendall(piece)
        close(source)
        close(target)
