"""Ctrl-C while a run is followed: at a terminal, one question."""

from __future__ import annotations

import sys

from rich.text import Text

from flytebuild.cli import signals
from flytebuild.cli.console import err


def wants_to_leave(run: str) -> bool:
    """Whether the user, who has pressed Ctrl-C, wants the run to go on; another Ctrl-C answers that it must not.

    Nobody is asked where there is no terminal, and after SIGTERM.
    """
    if signals.received is not None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        err().print(Text(f"\nLeave run {run} running? Otherwise it is aborted [y/N] "), end="")
        return sys.stdin.readline().strip().lower() in ("y", "yes")
    except KeyboardInterrupt:
        err().print()
        return False
