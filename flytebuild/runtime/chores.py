"""Work that nobody waits for until the end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Chores:
    """What goes on beside everything else; `pending` is what is not done yet."""

    def __init__(self) -> None:
        self.pending: set[asyncio.Task[None]] = set()

    def later(self, chore: Coroutine[Any, Any, None]) -> None:
        """Do something that nobody waits for, except at the very end."""
        task = asyncio.create_task(chore)
        self.pending.add(task)
        task.add_done_callback(self.pending.discard)
