"""What the control plane does regularly, beside all that it is asked for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from flytebuild.runtime.app import ControlPlane
from flytebuild.runtime.clock import CLOCK

log = logging.getLogger(__name__)

_SWEEP_SECONDS = 3600.0
_CLOCK_SECONDS = 1.0
"""How often it is looked whether the clock on the wall may count again."""

_PRUNED_SECONDS = 1.0
"""How often it is looked whether another process has pruned runs; that costs a few microseconds."""


async def keep_up(plane: ControlPlane) -> None:
    """Do all of it until this is cancelled."""

    async def notice_pruning() -> None:
        """Forget the runs and the versions of tasks that another process has taken away."""
        plane.ledger.forget(plane.database.missing(run.name for run in plane.ledger.runs()))
        plane.catalogue.refresh()

    async def sweep() -> None:
        """Remove what uploads have left that were never completed."""
        if left := await asyncio.to_thread(plane.store.sweep):
            log.warning("removing %d uploads that were never completed", left)

    async def keep_time() -> None:
        """Follow the clock on the wall while nothing is under way; what is would get durations that never were."""
        if not plane.ledger.unfinished():
            CLOCK.set()

    await asyncio.gather(
        regularly(_PRUNED_SECONDS, notice_pruning),
        regularly(_SWEEP_SECONDS, sweep),
        regularly(_CLOCK_SECONDS, keep_time),
    )


async def regularly(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Do something every so many seconds; that it fails once is no reason to do it never again."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except Exception:
            log.exception("`%s` failed, and is tried again in %g s", work.__name__, seconds)
