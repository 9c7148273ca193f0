"""SIGTERM ends a command the way Ctrl-C does: what it started is stopped first."""

from __future__ import annotations

import contextlib
import signal
from types import FrameType

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM

received: int | None = None
"""The exit code that a signal asks for, once it has come."""


def end_as_on_interruption() -> None:
    """Let SIGTERM, from now on, raise KeyboardInterrupt by the very way that SIGINT takes."""
    # Only the main thread may listen to signals; called from another one, we are a guest and leave them alone.
    with contextlib.suppress(ValueError):
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            # Python's own, in the place of the one with which the command starts.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, _interrupt)


def end_at_once() -> None:
    """Let a signal, from now on, end the process without a word: it is ending already."""
    with contextlib.suppress(ValueError):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    global received
    received = TERMINATED
    # asyncio has its own handler for SIGINT, which lets tasks clean up; a shell may have let us start without one.
    if signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, signal.SIG_DFL, None):
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)
