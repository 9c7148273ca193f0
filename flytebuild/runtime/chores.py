"""Work that nobody waits for until the end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class Chores:
    """What goes on beside everything else; `pending` is what is not done yet."""

    def __init__(self) -> None:
        self.pending: set[asyncio.Task[Any]] = set()

    def later(self, chore: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Do something that nobody has to wait for, except at the very end."""
        task = asyncio.create_task(chore)
        self.pending.add(task)
        task.add_done_callback(self.pending.discard)
        return task

    async def settle(self, seconds: float | None = None) -> None:
        """Wait until all that is pending by now is done, or for so many seconds."""
        if self.pending:
            await asyncio.wait(self.pending, timeout=seconds)
