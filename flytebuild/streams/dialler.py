"""Opening byte streams one after the other, through a program where that is how it is done."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable

from flytebuild.streams.program import Program


class Dialler:
    """Opens connections one after the other, and knows what became of the last one."""

    def __init__(self, dial: Callable[[Dialler], socket.socket]) -> None:
        self._dial = dial
        self._programs: list[Program] = []
        self._failure = ""

    def dial(self) -> socket.socket:
        """A connected socket. Raises OSError."""
        self._failure = ""
        try:
            return self._dial(self)
        except OSError as error:
            self.fail(error.strerror or str(error))
            raise

    def run(self, command: Iterable[str]) -> socket.socket:
        """The standard input and output of a program, which ends with the connection."""
        command = tuple(command)
        try:
            program = Program(command)
        except OSError as error:
            raise OSError(error.errno, f"`{command[0]}` cannot be started ({error.strerror})") from error
        self._programs = [*(item for item in self._programs if not item.is_over), program]
        return program.socket

    def fail(self, reason: str) -> None:
        """Note why the last connection ended."""
        self._failure = reason

    def complaint(self) -> str:
        """Why the last connection failed, as far as that is known."""
        return self._failure or (self._programs[-1].complaint() if self._programs else "")

    def join(self) -> None:
        """Wait for the ends of programs whose connections are closed."""
        for program in self._programs:
            program.join()
