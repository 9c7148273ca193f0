"""`flyte run … | head`: a pipe that nobody reads any more ends the process, whichever thread finds out.

Rich answers it with SystemExit. The SDK prints from the thread of its event loop, where that ends the loop alone, and
the main thread waits for an answer of it for ever.
"""

from __future__ import annotations

import os
import threading

from rich.console import Console

_on_broken_pipe = Console.on_broken_pipe


def ends_the_process() -> None:
    """Have it so from now on. What was created in a control plane goes on there."""
    Console.on_broken_pipe = _end  # type: ignore[method-assign]


def _end(self: Console) -> None:
    if threading.current_thread() is threading.main_thread():
        _on_broken_pipe(self)
    # The exit code of Rich. The main thread would not hear of anything gentler.
    os._exit(1)
