"""Progress lines on stderr, and the one error that ends a command."""

from __future__ import annotations

import sys


class MachineError(Exception):
    """Raised when the machine cannot be brought up or taken down; one sentence, and what to do about it."""

    def __init__(self, message: str, *, hint: str | None = None, exit_code: int = 69) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code


def say(subject: str, text: str) -> None:
    """Report one step: `engine: unpacking Debian 13 ...`."""
    print(f"{subject}: {text}", file=sys.stderr, flush=True)
