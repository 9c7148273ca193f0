"""Server-sent events that say when a page has changed: that of a run, when one of its actions did or one of its logs
grew, and the list of runs, when one began, ended or was taken away.

They carry nothing; who hears one fetches the page again (HTML Living Standard, section 9.2).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from flytebuild.runtime.actions import Ledger
from flytebuild.runtime.logs import LogBook
from flytebuild.runtime.model import Action

_BEGIN = b"retry: 2000\n\n"
_CHANGE = b"event: change\ndata:\n\n"
_ALIVE = b": alive\n\n"

_PAUSE_SECONDS = 0.3
"""The least time between two events: a page with many actions is not fetched for each of their steps."""

_LOOK_SECONDS = 1.0
"""How often logs are looked at, which nobody announces."""


async def changes(ledger: Ledger, logs: LogBook, run: str) -> AsyncIterator[bytes]:
    """One event at once, and one for each batch of changes; ends after the run's end."""
    yield _BEGIN
    seen = -1
    quiet = 0
    async for changed in ledger.watch(run, lambda _: True, _LOOK_SECONDS):
        grown = await asyncio.to_thread(_size, ledger, logs, run)
        quiet = 0 if changed or grown != seen else quiet + 1
        if changed or grown != seen:
            seen = grown
            yield _CHANGE
            await asyncio.sleep(_PAUSE_SECONDS)
        elif quiet % 15 == 0:
            yield _ALIVE
        if ledger.root(run).phase.is_terminal and not changed:
            return


class RunList:
    """The list of all runs, and who looks at it; `close` it at the end."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._bell = asyncio.Event()
        self._is_closed = False
        ledger.listen(self._note)

    async def changes(self) -> AsyncIterator[bytes]:
        """One event at once, and one for each batch of changes; ends when the list is closed."""
        yield _BEGIN
        seen, has_rung, quiet = 0, True, 0
        while not self._is_closed:
            bell = self._bell
            # Nobody tells of runs that were taken away.
            count = sum(1 for _ in self._ledger.runs())
            if has_rung or count != seen:
                seen, quiet = count, 0
                yield _CHANGE
                await asyncio.sleep(_PAUSE_SECONDS)
            elif (quiet := quiet + 1) % 15 == 0:
                yield _ALIVE
            has_rung = await _rings(bell)

    def close(self) -> None:
        """End all that listen."""
        self._is_closed = True
        self._bell.set()

    def _note(self, action: Action) -> None:
        """The list shows what its runs' first actions are."""
        if action.parent is None:
            bell, self._bell = self._bell, asyncio.Event()
            bell.set()


async def _rings(bell: asyncio.Event) -> bool:
    """Wait for a bell, not for long; whether it rang."""
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(bell.wait(), _LOOK_SECONDS)
    return bell.is_set()


def _size(ledger: Ledger, logs: LogBook, run: str) -> int:
    """Bytes of the logs that may still grow."""
    total = 0
    for action in ledger.actions(run):
        if action.attempts and not action.phase.is_terminal:
            path = logs.path(action.key, len(action.attempts))
            total += path.stat().st_size if path.exists() else 0
    return total
