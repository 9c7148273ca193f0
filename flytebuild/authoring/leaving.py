"""Leaving a process that has used the SDK.

The SDK's HTTP client (pyqwest) calls back from threads of its own. One that waits for the interpreter's lock when the
interpreter begins to end is unwound by Python before 3.14 (https://github.com/python/cpython/issues/87135), which its
Rust frames answer by aborting the process: a script that has done all of its work ends with SIGABRT, on a busy machine
one in ten. A moment without the lock, before that begins, lets them finish.
"""

from __future__ import annotations

import atexit
import sys
import time

_MOMENT = 0.01
"""Seconds; the threads are in the middle of their last call, and need no more than their turn: with a fifth of this
none of 120 processes aborted where 7 did without, eight times as many others wanting the processors."""


def with_care() -> None:
    """Have this process leave so. To ask twice changes nothing."""
    if sys.version_info < (3, 14):
        atexit.unregister(_wait)
        atexit.register(_wait)


def _wait() -> None:
    if "pyqwest" in sys.modules:
        time.sleep(_MOMENT)
