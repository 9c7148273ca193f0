"""Byte streams through the standard input and output of a program."""

from __future__ import annotations

import contextlib
import shlex
import socket
import subprocess
import threading
from collections.abc import Sequence

from flytebuild.streams.splice import splice

_GRACE = 2.0
"""Seconds that a program has to end by itself once its input has ended, and again once it was told to."""


class Program:
    """A program that carries one connection: it ends with the connection, and the connection with it."""

    def __init__(self, command: Sequence[str]) -> None:
        """Start it. Raises OSError where that cannot be done."""
        self._command = command
        self._said = ""
        self.socket, far = socket.socketpair()
        near, its = socket.socketpair()
        with its:
            try:
                self._process = subprocess.Popen(
                    command, stdin=its.fileno(), stdout=its.fileno(), stderr=subprocess.PIPE, start_new_session=True
                )
            except BaseException:
                for connection in (self.socket, far, near):
                    connection.close()
                raise
        self._listener = threading.Thread(target=self._listen, daemon=True, name="flytebuild-program-errors")
        self._listener.start()
        self._watcher = threading.Thread(target=self._watch, args=(splice(far, near),), daemon=True)
        self._watcher.start()

    def complaint(self) -> str:
        """What it was and what it said, for when the connection failed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        self._listener.join(_GRACE)
        ended = self._process.poll()
        became = "says nothing" if ended is None else f"ended with {ended}"
        return f"`{shlex.join(self._command)}` {became}" + (f": {self._said}" if self._said else "")

    @property
    def is_over(self) -> bool:
        """Whether it has ended, with its connection."""
        return not self._watcher.is_alive()

    def join(self) -> None:
        """Wait until it has ended, which it does soon after its socket was closed."""
        self._watcher.join()

    def _listen(self) -> None:
        stream = self._process.stderr
        if stream is None:
            return
        with stream:
            for line in stream:
                if text := line.decode("utf-8", "replace").strip():
                    # What it says last is why it ends.
                    self._said = text

    def _watch(self, threads: Sequence[threading.Thread]) -> None:
        for thread in threads:
            thread.join()
        for end in (self._process.terminate, self._process.kill):
            try:
                self._process.wait(_GRACE)
                return
            except subprocess.TimeoutExpired:
                end()
        self._process.wait()
