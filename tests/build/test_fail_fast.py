"""The first failure ends everything, if that is wanted."""

import asyncio
from dataclasses import dataclass, field

import pytest

from flytebuild.build.builder import Outcome
from flytebuild.build.fail_fast import FailFast
from flytebuild.errors import StepFailure
from flytebuild.events import Emit, ignore
from flytebuild.plan import ImagePlan

FAILURE = StepFailure("run: false", "exit code 1", 1, (), ("env",))


def image(name: str) -> ImagePlan:
    return ImagePlan(name, "missing", "not there", (name,))


@dataclass
class Builds:
    """Images called `bad` fail, `good` ends well; others run until they are cancelled, which takes a turn."""

    ended: list[str] = field(default_factory=list)
    running: asyncio.Event = field(default_factory=asyncio.Event)

    async def build(self, image: ImagePlan, emit: Emit) -> Outcome:
        if image.reference == "good":
            return Outcome(image, manifest="sha256:1")
        if image.reference == "bad":
            await self.running.wait()
            return Outcome(image, failure=FAILURE)
        self.running.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.ended.append(image.reference)
        raise AssertionError


def test_others_are_cancelled_and_their_steps_have_ended() -> None:
    async def work() -> tuple[list[Outcome], list[str]]:
        builds = Builds()
        builder = FailFast(builds)
        names = ("good", "slow", "bad", "slower")
        return list(await asyncio.gather(*(builder.build(image(name), ignore) for name in names))), builds.ended

    (good, slow, bad, slower), ended = asyncio.run(work())
    assert good.manifest == "sha256:1"
    assert bad.failure == FAILURE
    assert slow.is_cancelled
    assert slower.is_cancelled
    assert ended == ["slow", "slower"]


def test_a_cancellation_from_outside_stays_one() -> None:
    async def work() -> list[str]:
        builds = Builds()
        task = asyncio.create_task(FailFast(builds).build(image("slow"), ignore))
        await builds.running.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return builds.ended

    assert asyncio.run(work()) == ["slow"]
