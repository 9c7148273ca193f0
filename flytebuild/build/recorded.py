"""What steps took, noted for the next time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from flytebuild.build.builder import Builder, Outcome
from flytebuild.events import Emit, Event, StepFinished, StepProgress
from flytebuild.plan import ImagePlan
from flytebuild.state import State, StepRecord

_PSEUDO = ("exporting ", "importing ", "[internal]")
"""How BuildKit calls what is no step of an image; such a one has another digest each time."""


@dataclass(frozen=True)
class Recorded:
    """Notes the steps that are executed; `address` tells builders apart."""

    builder: Builder
    state: State
    address: str

    async def build(self, image: ImagePlan, emit: Emit) -> Outcome:
        steps: list[StepRecord] = []
        moved: dict[str, dict[str, int]] = {}

        def take(event: Event) -> None:
            match event:
                case StepProgress():
                    moved.setdefault(event.step, {})[event.name] = event.current
                case StepFinished(cached=False, cancelled=False, error=None) if not event.name.startswith(_PSEUDO):
                    size = sum(moved.get(event.step, {}).values())
                    steps.append(StepRecord(event.step, event.name, event.seconds, size))
            emit(event)

        try:
            return await self.builder.build(image, take)
        finally:
            await asyncio.to_thread(self.state.record_steps, self.address, steps)
