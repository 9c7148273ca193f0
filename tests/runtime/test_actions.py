from __future__ import annotations

import asyncio

import pytest

from flytebuild.runtime.actions import ExistsError, FinishedError, Ledger, SealedError
from flytebuild.runtime.model import Action, ActionKey, Failure, Phase, Run
from flytebuild.runtime.records import UnknownError
from tests.runtime import samples

ROOT = ActionKey("r1", "a0")


class Recorder:
    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.phases: list[tuple[str, Phase]] = []

    def record_run(self, run: Run) -> None:
        self.runs.append(run)

    def record_action(self, action: Action) -> None:
        self.phases.append((action.key.name, action.phase))


def ledger(journal: Recorder | None = None) -> Ledger:
    made = Ledger(journal, clock=lambda: samples.NOW)
    made.create_run(samples.run(), samples.action())
    return made


def test_one_attempt_from_queue_to_success() -> None:
    journal = Recorder()
    state = ledger(journal)
    attempt = state.begin_attempt(ROOT, "image:1")
    state.advance(ROOT, Phase.INITIALIZING)
    state.advance(ROOT, Phase.RUNNING, container="c1", image_id="sha256:1")
    assert state.finish(ROOT, Phase.SUCCEEDED, outputs=attempt.outputs)
    action = state.action(ROOT)
    assert action.phase is Phase.SUCCEEDED
    assert action.outputs == attempt.outputs == "s3://flytebuild/runs/r1/a0/1"
    assert action.last is not None
    assert action.last.container == "c1"
    phases = [step.phase for step in action.last.transitions]
    assert phases == [Phase.QUEUED, Phase.INITIALIZING, Phase.RUNNING, Phase.SUCCEEDED]
    assert [phase for _, phase in journal.phases] == [Phase.QUEUED, *phases]


def test_the_first_verdict_stands() -> None:
    state = ledger()
    state.begin_attempt(ROOT, "image:1")
    assert state.finish(ROOT, Phase.ABORTED, reason="enough")
    assert not state.finish(ROOT, Phase.SUCCEEDED)
    state.end_attempt(ROOT, Phase.FAILED, Failure("X", "x"))
    with pytest.raises(FinishedError):
        state.advance(ROOT, Phase.RUNNING)
    with pytest.raises(FinishedError):
        state.begin_attempt(ROOT, "image:1")
    assert len(state.action(ROOT).attempts) == 1
    assert state.action(ROOT).phase is Phase.ABORTED
    assert state.action(ROOT).abort_reason == "enough"


def test_attempts_are_kept_with_their_failures() -> None:
    state = ledger()
    state.begin_attempt(ROOT, "image:1")
    state.end_attempt(ROOT, Phase.FAILED, Failure("ValueError", "once"))
    assert state.action(ROOT).phase is Phase.QUEUED
    second = state.begin_attempt(ROOT, "image:1")
    assert second.outputs.endswith("/a0/2")
    first = state.action(ROOT).attempts[0]
    assert (first.phase, first.failure) == (Phase.FAILED, Failure("ValueError", "once"))


def test_children() -> None:
    state = ledger()
    assert state.add(samples.action("c1", parent="a0"))
    assert not state.add(samples.action("c1", parent="a0"))
    assert state.add(samples.action("c2", parent="c1"))
    assert [child.key.name for child in state.children(ROOT)] == ["c1"]
    assert [action.key.name for action in state.actions("r1")] == ["a0", "c1", "c2"]


def test_a_run_that_has_ended_takes_no_children() -> None:
    state = ledger()
    state.add(samples.action("c1", parent="a0"))
    state.finish(ROOT, Phase.SUCCEEDED)
    for parent in ("a0", "c1"):
        with pytest.raises(FinishedError):
            state.add(samples.action("c2", parent=parent))


def test_a_sealed_ledger_takes_no_more() -> None:
    state = ledger()
    state.add(samples.action("c1", parent="a0"))
    state.seal()
    with pytest.raises(SealedError):
        state.create_run(samples.run("r2"), samples.action(run_name="r2"))
    with pytest.raises(SealedError):
        state.add(samples.action("c2", parent="a0"))
    assert not state.add(samples.action("c1", parent="a0")), "what is known is no new work"
    state.begin_attempt(ROOT, "image:1")
    assert state.finish(ROOT, Phase.SUCCEEDED)


def test_names() -> None:
    state = ledger()
    with pytest.raises(ExistsError):
        state.create_run(samples.run(), samples.action())
    for key in (ActionKey("r1", "nobody"), ActionKey("r2", "a0")):
        with pytest.raises(UnknownError):
            state.action(key)
    with pytest.raises(UnknownError):
        state.add(samples.action("c1", parent="nobody"))


def test_a_watcher_sees_what_is_and_then_what_changes() -> None:
    async def main() -> None:
        state = ledger()
        state.add(samples.action("c1", parent="a0"))
        state.add(samples.action("c2", parent="a0"))
        watch = state.watch("r1", lambda action: action.parent == "a0", heartbeat=30)
        assert [action.key.name for action in await anext(watch)] == ["c1", "c2"]
        state.begin_attempt(ActionKey("r1", "c2"), "image:1")
        state.finish(ActionKey("r1", "c2"), Phase.SUCCEEDED)
        # Of several changes, the last is told.
        assert [(action.key.name, action.phase) for action in await anext(watch)] == [("c2", Phase.SUCCEEDED)]
        coming = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        state.finish(ActionKey("r1", "c1"), Phase.FAILED)
        assert [action.key.name for action in await coming] == ["c1"]
        state.close()
        with pytest.raises(StopAsyncIteration):
            await anext(watch)

    asyncio.run(main())


def test_a_quiet_watch_beats() -> None:
    async def main() -> None:
        watch = ledger().watch("r1", lambda _: False, heartbeat=0.001)
        assert await anext(watch) == ()
        assert await anext(watch) == ()
        await watch.aclose()  # type: ignore[attr-defined]

    asyncio.run(main())
