"""What may pass is tried again, and nothing else."""

import asyncio
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from flytebuild.build.builder import Outcome
from flytebuild.build.retry import Retried
from flytebuild.errors import StepFailure
from flytebuild.events import Emit, Event, ImageFinished, ImageStarted, Notice
from flytebuild.plan import ImagePlan

IMAGE = ImagePlan("r/a:1", "missing", "not there", ("a_env",))
FAILURE = StepFailure("publishing r/a:1", "", None, (), ("a_env",))
PUSH = "failed to push r/a: unexpected status from POST request to http://r/v2/a/blobs/uploads/: "


@dataclass
class Host:
    """Fails with each message in turn, and then does not."""

    messages: list[str]
    exit_code: int | None = None
    attempts: int = 0

    async def build(self, image: ImagePlan, emit: Emit) -> Outcome:
        self.attempts += 1
        emit(ImageStarted(image.reference, image.environments, image.reference, ()))
        error = self.messages.pop(0) if self.messages else None
        emit(ImageFinished(image.reference, image.environments, image.reference, None, 1.0, error))
        if error is None:
            return Outcome(image, manifest="sha256:1")
        return Outcome(image, failure=replace(FAILURE, message=error, exit_code=self.exit_code))


def build(host: Host) -> tuple[Outcome, list[Event]]:
    events: list[Event] = []
    return asyncio.run(Retried(host, pauses=(0, 0)).build(IMAGE, events.append)), events


@pytest.mark.parametrize(
    "message",
    [
        PUSH + "429 Too Many Requests",
        "`r/a:1` cannot be published: `r` answers with status 502",
        "`r/a:1` cannot be published: `r` does not answer (ConnectError)",
    ],
)
def test_what_may_pass_is_tried_again_and_told_as_one_build(message: str) -> None:
    host = Host([message])
    outcome, events = build(host)
    assert outcome.manifest == "sha256:1"
    assert host.attempts == 2
    assert [type(event) for event in events] == [ImageStarted, Notice, ImageFinished]
    assert isinstance(events[-1], ImageFinished)
    assert (events[-1].error, events[-1].seconds) == (None, 2.0)


def test_it_ends_after_a_few_attempts() -> None:
    host = Host([PUSH + "429 Too Many Requests"] * 9)
    outcome, _ = build(host)
    assert host.attempts == 3
    assert outcome.failure is not None
    assert outcome.failure.may_pass


def test_a_file_that_changed_may_pass_with_another_plan() -> None:
    host = Host(["`data/x` changed while the image was built"])
    outcome, _ = build(host)
    assert (host.attempts, outcome.failure and outcome.failure.may_pass) == (1, True)


@pytest.mark.parametrize(
    "message",
    [
        PUSH + "401 Unauthorized",
        PUSH + "403 Forbidden",
        PUSH + "503 Service Unavailable",
        "failed to load cache key: r/base:1: not found",
    ],
)
def test_what_stays_as_it_is_is_not_tried_again(message: str) -> None:
    host = Host([message])
    outcome, _ = build(host)
    assert (host.attempts, outcome.failure and outcome.failure.may_pass) == (1, False)


def test_a_step_that_exited_by_itself_is_not_tried_again_whatever_it_says() -> None:
    host = Host(["process did not complete successfully: connection reset"], exit_code=1)
    build(host)
    assert host.attempts == 1
