"""Where the command begins: Ctrl-C ends it without a traceback before the rest of it is even imported."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

_INTERRUPTED = 128 + signal.SIGINT


def start() -> None:
    """The `flytebuild` command."""
    # A shell that starts us in the background has us ignore it, and so we do.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)
    from flytebuild.cli.main import main

    main()


def _end(_number: int, _frame: FrameType | None) -> None:
    """End at once: nothing has begun that would have to be ended first."""
    sys.stderr.write("interrupted\n")
    sys.stderr.flush()
    os._exit(_INTERRUPTED)
