"""Blocking work on threads that a dying process does not wait for."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def in_thread(work: Callable[[], Result], name: str) -> asyncio.Future[Result]:
    """Start `work` on a daemon thread.

    Python joins the threads of its executors when it exits. A solve would keep a process alive that the user has
    interrupted; on a daemon thread it ends with the process, and BuildKit stops it when the connection is gone.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()
    # Whoever awaits it gets an error; where nobody waits any more, asyncio must not print one.
    future.add_done_callback(lambda ended: ended.cancelled() or ended.exception())

    def settle(set_: Callable[[], None]) -> None:
        # The loop may be closed already when a cancelled solve comes back.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(lambda: None if future.done() else set_())

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the one who awaits it gets it
            failure = error
            settle(lambda: future.set_exception(failure))
        else:
            settle(lambda: future.set_result(result))

    threading.Thread(target=run, daemon=True, name=name).start()
    return future
