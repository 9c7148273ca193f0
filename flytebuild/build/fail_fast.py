"""Stopping everything once something has failed, for those who want an answer rather than images."""

from __future__ import annotations

import asyncio

from msgspec import Struct, field

from flytebuild.build.builder import Builder, Outcome
from flytebuild.events import Emit
from flytebuild.plan import ImagePlan


class FailFast(Struct, frozen=True):
    """Cancels all images that are not done when the first one fails; make it inside the event loop."""

    builder: Builder
    _failed: asyncio.Event = field(default_factory=asyncio.Event)

    async def build(self, image: ImagePlan, emit: Emit) -> Outcome:
        building = asyncio.create_task(self.builder.build(image, emit))
        waiting = asyncio.create_task(self._failed.wait())
        try:
            await asyncio.wait((building, waiting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            # Whether it is another image's failure or the user who ends it: its steps end before this returns.
            building.cancel()
            await asyncio.wait((building,))
        if building.cancelled():
            return Outcome(image, is_cancelled=True)
        outcome = building.result()
        if outcome.failure:
            self._failed.set()
        return outcome
