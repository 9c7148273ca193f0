"""What steps took, noted for the next time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec import Struct

from flytebuild.build.builder import Builder, Outcome
from flytebuild.events import Emit, Event, StepFinished, StepProgress
from flytebuild.plan import ImagePlan
from flytebuild.state import State, StepRecord

_PSEUDO = ("exporting ", "importing ", "[internal]")
"""How BuildKit calls what is no step of an image; such a one has another digest each time."""


@asynccontextmanager
async def noted(state: State, address: str, emit: Emit) -> AsyncIterator[Emit]:
    """An `emit` that takes note of the steps that are executed, for the state in the end, however it comes about."""
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
        yield take
    finally:
        await asyncio.to_thread(state.record_steps, address, steps)


class Recorded(Struct, frozen=True):
    """Notes the steps that are executed; `address` tells builders apart."""

    builder: Builder
    state: State
    address: str

    async def build(self, image: ImagePlan, emit: Emit) -> Outcome:
        async with noted(self.state, self.address, emit) as take:
            return await self.builder.build(image, take)
