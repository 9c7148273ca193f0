"""What a step writes is told without the secrets that it was given."""

import asyncio

from msgspec.structs import replace

from flytebuild.build.builder import Outcome
from flytebuild.build.veil import Veil, Veiled
from flytebuild.errors import StepFailure
from flytebuild.events import Emit, Event, StepLog
from flytebuild.plan import ImagePlan

LINES = ("fetching https://me:hunter22@host", "hunter22-longer", "password first  line", "nothing")


class Talkative:
    """A build whose step writes what it knows, and fails."""

    async def build(self, image: ImagePlan, emit: Emit) -> Outcome:
        emit(StepLog(image.reference, "d", "step", LINES))
        return Outcome(image, failure=StepFailure("step", "exit code: 1", 1, LINES, ("env",), hint="hunter22 is wrong"))


def test_secrets_are_hidden_in_logs_and_failures() -> None:
    events: list[Event] = []
    veil = Veil([b"hunter22", b"hunter22-longer", b"\n  first  line\r\nsecond\n\xff", b"no"])
    image = ImagePlan("image", "missing", "not there", ("env",))
    outcome = asyncio.run(Veiled(Talkative(), veil).build(image, events.append))
    told = ("fetching https://me:***@host", "***", "password ***", "nothing")
    assert events == [StepLog("image", "d", "step", told)]
    expected = StepFailure("step", "exit code: 1", 1, told, ("env",), hint="*** is wrong")
    assert outcome == replace(outcome, failure=expected)


def test_without_secrets_all_is_told() -> None:
    assert Veil([b"", b"abc"]).hide("abc") == "abc"
