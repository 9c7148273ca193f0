"""Secrets that a step writes itself, and passwords of the host's URLs: hidden in what it is said to have written."""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from flytebuild.build.builder import Builder, Outcome
from flytebuild.errors import StepFailure
from flytebuild.events import Emit, Event, StepLog
from flytebuild.plan import ImagePlan

SHORTEST = 4
"""Characters of a line that is hidden: without shorter ones a log could not be read any more."""

HIDDEN = "***"


class Veil:
    """Hides secrets in text, line by line of each value: a step's output is told in lines."""

    def __init__(self, values: Iterable[bytes]) -> None:
        lines = {line.strip() for value in values for line in value.decode("utf-8", "replace").splitlines()}
        # The longest first: one secret may be the beginning of another.
        hidden = sorted((line for line in lines if len(line) >= SHORTEST), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, hidden))) if hidden else None

    def hide(self, text: str) -> str:
        """The text without secrets."""
        return self._pattern.sub(HIDDEN, text) if self._pattern else text

    def event(self, event: Event) -> Event:
        """What may be told of an event."""
        return replace(event, lines=tuple(map(self.hide, event.lines))) if isinstance(event, StepLog) else event

    def failure(self, failure: StepFailure) -> StepFailure:
        """What may be told of a failure, whose hint may repeat a line of the log."""
        return replace(failure, log=tuple(map(self.hide, failure.log)), hint=self.hide(failure.hint))


class Veiled(Struct, frozen=True):
    """Tells nobody the secrets that a step of an image writes."""

    builder: Builder
    veil: Veil

    async def build(self, image: ImagePlan, emit: Emit) -> Outcome:
        outcome = await self.builder.build(image, lambda event: emit(self.veil.event(event)))
        return replace(outcome, failure=self.veil.failure(outcome.failure)) if outcome.failure else outcome
