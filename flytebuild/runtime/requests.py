"""Requests to the engine from the event loop: each in one of a few threads, since its client blocks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Answer = TypeVar("Answer")

_AT_ONCE = 16
"""Each is short; what takes long has a thread of its own."""


class Requests:
    """The threads of one engine's requests."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="engine")

    async def ask(self, request: Callable[[], Answer]) -> Answer:
        """The answer to a request; one that is not wanted any more is answered all the same."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, request)

    def close(self) -> None:
        """Begin no more of them."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def reason(error: Exception) -> str:
    """Why the engine refused, in its own words."""
    return str(getattr(error, "explanation", None) or error)
