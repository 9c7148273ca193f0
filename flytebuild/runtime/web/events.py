"""Server-sent events that say when a run's page has changed: when one of its actions did, or one of its logs grew.

They carry nothing; who hears one fetches the page again (HTML Living Standard, section 9.2).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from flytebuild.runtime.actions import Ledger
from flytebuild.runtime.logs import LogBook

_CHANGE = b"event: change\ndata:\n\n"
_ALIVE = b": alive\n\n"

_PAUSE_SECONDS = 0.3
"""The least time between two events: a page with many actions is not fetched for each of their steps."""

_LOOK_SECONDS = 1.0
"""How often logs are looked at, which nobody announces."""


async def changes(ledger: Ledger, logs: LogBook, run: str) -> AsyncIterator[bytes]:
    """One event at once, and one for each batch of changes; ends after the run's end."""
    yield b"retry: 2000\n\n"
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


def _size(ledger: Ledger, logs: LogBook, run: str) -> int:
    """Bytes of the logs that may still grow."""
    total = 0
    for action in ledger.actions(run):
        if action.attempts and not action.phase.is_terminal:
            path = logs.path(action.key, len(action.attempts))
            total += path.stat().st_size if path.exists() else 0
    return total
