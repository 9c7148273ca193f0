"""Trying again what may go well the next time: a registry that is busy, a connection that broke."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from flytebuild.build.builder import Builder, Outcome
from flytebuild.build.once import Once
from flytebuild.events import Emit, Notice
from flytebuild.plan import ImagePlan

PAUSES = (1.0, 5.0)
"""Seconds before the second and the third attempt."""

_PASSING = re.compile(r"429 too many requests|toomanyrequests|answers with status (429|50[0234])|does not answer", re.I)
"""What is said of registries that may do better a little later: of 429 by BuildKit, of the others by our own client.

BuildKit itself tries a push again that a connection or a status from 500 on has broken (util/resolver/retryhandler).
"""

_CHANGED = re.compile(r"^`.+` changed while the image was built$")
"""What our session says of a file; another attempt would not help, since the plan is for the file as it was."""


class Retried(Struct, frozen=True):
    """Builds an image again when what failed was no step of it: what it has done so far is cached."""

    builder: Builder
    pauses: Sequence[float] = PAUSES

    async def build(self, image: ImagePlan, emit: Emit) -> Outcome:
        once = Once(emit)
        outcome = await self.builder.build(image, once)
        for pause in self.pauses:
            if not _may_pass(outcome):
                break
            why = outcome.failure.message if outcome.failure else ""
            names = ", ".join(image.environments)
            emit(Notice(f"the image of {names} is tried again in {pause:.0f} s: {why}"))
            await asyncio.sleep(pause)
            outcome = await self.builder.build(image, once)
        once.end()
        if outcome.failure and (_may_pass(outcome) or _CHANGED.search(outcome.failure.message)):
            return replace(outcome, failure=replace(outcome.failure, may_pass=True))
        return outcome


def _may_pass(outcome: Outcome) -> bool:
    failure = outcome.failure
    # A step that exited by itself has done so for a reason of its own, whatever it wrote.
    return bool(failure and failure.exit_code is None and _PASSING.search(failure.message))
