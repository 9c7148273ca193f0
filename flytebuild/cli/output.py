"""Standard output that remembers why it failed, since whoever writes to it may not say."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from typing import Any, TextIO

from flytebuild.errors import OutputError


class Output:
    """A text stream that is another one, and keeps the error that ended it.

    click and rich end the process themselves when the reader of a pipe has gone (`| head`), each in its own way and
    with a code that tells nothing.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.failure: OSError | None = None

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self.failure = error
            raise

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self.failure = error
            raise

    def discard(self) -> None:
        """Write nowhere from now on: the interpreter tries again at its end, and complains."""
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self._stream.fileno())
        os.close(nothing)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def refuse_full() -> None:
    """Raise OutputError where standard output takes nothing: before the work whose result would be lost."""
    with suppress(ValueError):  # What is no file has no number.
        number = sys.stdout.fileno()
        try:
            # Writes nothing, and fails as a device does that takes nothing.
            os.write(number, b"")
            is_full = stat.S_ISREG(os.fstat(number).st_mode) and os.fstatvfs(number).f_bavail == 0
        except OSError as error:
            raise OutputError(f"The output cannot be written: {error.strerror}") from error
        if is_full:
            raise OutputError("The output cannot be written: its disk is full")
