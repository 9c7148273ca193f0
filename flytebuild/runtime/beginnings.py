"""How many attempts begin at the same time.

A container's start and the imports of Flyte's SDK take processor time, and the SDK gives up where its own threads are
not there within seconds. So an attempt has its turn until its first request shows that it has come so far.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from flytebuild.runtime.model import ActionKey

_PATIENCE_SECONDS = 10.0
"""After so long the next one begins, also where nothing was heard."""


class Beginnings:
    """The turns of one machine, `at_once` at the same time."""

    def __init__(self, at_once: int) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._open: dict[tuple[ActionKey, int], asyncio.TimerHandle] = {}

    def turn(self, key: ActionKey, number: int, begun: Callable[[], None]) -> Turn:
        """The turn of an attempt, which lasts beyond its block, until `end`, unless the block fails.

        `begun` is called when it has come.
        """
        return Turn(self, key, number, begun)

    async def begin(self, key: ActionKey, number: int) -> None:
        """Wait for the turn of an attempt."""
        await self._free.acquire()
        self._open[key, number] = asyncio.get_running_loop().call_later(_PATIENCE_SECONDS, self.end, key, number)

    def end(self, key: ActionKey, number: int) -> None:
        """End the turn of an attempt; harmless for one that has none."""
        if timer := self._open.pop((key, number), None):
            timer.cancel()
            self._free.release()


@dataclass(frozen=True, slots=True)
class Turn:
    """One attempt's; it may be entered again after it has failed."""

    beginnings: Beginnings
    key: ActionKey
    number: int
    begun: Callable[[], None]

    async def __aenter__(self) -> None:
        await self.beginnings.begin(self.key, self.number)
        self.begun()

    async def __aexit__(self, failed: type[BaseException] | None, *_: object) -> None:
        if failed is not None:
            self.beginnings.end(self.key, self.number)
