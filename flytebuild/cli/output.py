"""Standard output that remembers why it failed, since whoever writes to it may not say."""

from __future__ import annotations

import os
from typing import Any, TextIO


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
