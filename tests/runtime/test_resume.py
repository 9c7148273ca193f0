"""What a control plane does with what one that was killed left under way."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from flyteidl2.task.task_definition_pb2 import TaskSpec

from flytebuild.runtime.actions import Ledger
from flytebuild.runtime.archives import Entry, pieces
from flytebuild.runtime.executor import Started, Survivor
from flytebuild.runtime.logs import LogBook
from flytebuild.runtime.model import Action, ActionKey, Phase, now
from flytebuild.runtime.storage import ObjectStore
from flytebuild.runtime.supervisor import Supervisor
from flytebuild.runtime.verdict import Exit
from tests.runtime import samples
from tests.runtime.conftest import SITE, ScriptedExecutor

ROOT = ActionKey("r1", "a0")


@dataclass
class Engine:
    """What is on the engine still, and which of it was attached."""

    survivors: tuple[Survivor, ...] = ()
    attached: list[str] = field(default_factory=list)

    async def found(self) -> tuple[Survivor, ...]:
        return self.survivors

    def attach(self, started: Started, log_file: Path) -> None:
        self.attached.append(started.container)


@dataclass
class Clock:
    at: datetime

    def __call__(self) -> datetime:
        return self.at


def under_way(phase: Phase, since: datetime, spec: TaskSpec | None = None, **facts: object) -> Ledger:
    """A ledger as it is read again: a root whose attempt came into a phase some time ago; it may have two."""
    clock = Clock(since)
    ledger = Ledger(clock=clock)
    ledger.create_run(samples.run(), samples.action(spec=spec or samples.task_spec(retries=1, timeout=600)))
    ledger.begin_attempt(ROOT, "image:1")
    ledger.advance(ROOT, phase, **facts)
    clock.at = now()
    return ledger


def survivor(container: str, run: str = "r1", *, has_run: bool = True) -> Survivor:
    return Survivor(Started(container, "sha256:abc"), run, "a0", 1, has_run)


def resume(folder: Path, executor: ScriptedExecutor, ledger: Ledger, engine: Engine, end: Exit | None = None) -> Action:
    """What becomes of the root; the containers that survived end with `end`, or not at all."""

    async def main() -> Action:
        store, logs = ObjectStore(folder / "objects"), LogBook(folder / "logs")
        supervisor = Supervisor(ledger, store, logs, executor, SITE, starts=2)
        for item in engine.survivors:
            executor.running[item.started.container] = asyncio.get_running_loop().create_future()
            if end:
                executor.running[item.started.container].set_result(end)
        await supervisor.resume(engine)
        async for _ in ledger.watch("r1", lambda action: action.key == ROOT and action.phase.is_terminal, 10):
            if ledger.root("r1").phase.is_terminal:
                break
        await supervisor.aclose()
        return ledger.root("r1")

    return asyncio.run(main())


def test_a_container_that_survived_is_waited_for(tmp_path: Path, executor: ScriptedExecutor) -> None:
    ledger = under_way(Phase.RUNNING, now(), container="mine")
    engine = Engine((survivor("mine"), survivor("stranger", "r9")))
    action = resume(tmp_path, executor, ledger, engine, Exit(0))
    assert (action.phase, len(action.attempts)) == (Phase.SUCCEEDED, 1)
    assert engine.attached == ["mine"]
    assert sorted(executor.removed) == ["mine", "stranger"]
    assert executor.orders == []


def test_one_that_ran_before_it_was_written_down(tmp_path: Path, executor: ScriptedExecutor) -> None:
    engine = Engine((survivor("mine"),))
    action = resume(tmp_path, executor, under_way(Phase.INITIALIZING, now()), engine, Exit(0))
    assert action.last is not None
    assert (action.phase, action.last.container) == (Phase.SUCCEEDED, "mine")


def test_one_that_was_never_started_is_replaced(tmp_path: Path, executor: ScriptedExecutor) -> None:
    executor.script = lambda _order, _number: Exit(0)
    engine = Engine((survivor("mine", has_run=False),))
    action = resume(tmp_path, executor, under_way(Phase.INITIALIZING, now()), engine)
    assert (action.phase, len(action.attempts), len(executor.orders)) == (Phase.SUCCEEDED, 1, 1)
    assert sorted(executor.removed) == ["container-1", "mine"]


def test_one_that_is_lost_is_tried_again(tmp_path: Path, executor: ScriptedExecutor) -> None:
    executor.script = lambda _order, _number: Exit(0)
    action = resume(tmp_path, executor, under_way(Phase.RUNNING, now(), container="mine"), Engine())
    assert [attempt.phase for attempt in action.attempts] == [Phase.FAILED, Phase.SUCCEEDED]
    failure = action.attempts[0].failure
    assert failure is not None
    assert failure.code == "ContainerLost"
    assert "started again" in failure.message


def test_a_time_limit_counts_also_while_nobody_looked(tmp_path: Path, executor: ScriptedExecutor) -> None:
    executor.script = lambda _order, _number: Exit(0)
    ledger = under_way(Phase.RUNNING, now() - timedelta(hours=1), container="mine")
    action = resume(tmp_path, executor, ledger, Engine((survivor("mine"),)))
    assert [attempt.phase for attempt in action.attempts] == [Phase.TIMED_OUT, Phase.SUCCEEDED]


def test_a_clock_that_was_set_back_takes_nothing_away(tmp_path: Path, executor: ScriptedExecutor) -> None:
    ledger = under_way(Phase.RUNNING, now() + timedelta(days=300), container="mine")
    assert resume(tmp_path, executor, ledger, Engine((survivor("mine"),)), Exit(0)).phase is Phase.SUCCEEDED


def test_children_of_a_parent_that_has_ended_end(tmp_path: Path, executor: ScriptedExecutor) -> None:
    ledger = under_way(Phase.RUNNING, now())
    ledger.add(samples.action("c1", parent="a0"))
    ledger.add(samples.action("c2", parent="c1"))
    ledger.finish(ROOT, Phase.SUCCEEDED)
    resume(tmp_path, executor, ledger, Engine())
    assert [action.phase for action in ledger.actions("r1")] == [Phase.SUCCEEDED, Phase.ABORTED, Phase.ABORTED]
    assert executor.orders == []


def test_an_end_right_after_the_start_leaves_nothing(tmp_path: Path, executor: ScriptedExecutor) -> None:
    ledger = under_way(Phase.RUNNING, now(), container="mine")

    async def main() -> None:
        store, logs = ObjectStore(tmp_path / "objects"), LogBook(tmp_path / "logs")
        supervisor = Supervisor(ledger, store, logs, executor, SITE, starts=2)
        await supervisor.resume(Engine((survivor("mine"),)))
        await supervisor.aclose()

    asyncio.run(main())
    assert executor.removed == ["mine"]
    assert ledger.root("r1").phase is Phase.ABORTED


def test_what_a_container_without_flyte_leaves_is_fetched_from_one_that_survived(
    tmp_path: Path, executor: ScriptedExecutor
) -> None:
    executor.left = {"/out": b"".join(pieces((Entry("out", None, 0o755), Entry("out/x", b"7", 0o644))))}
    ledger = under_way(Phase.RUNNING, now(), samples.raw_spec(), container="old")
    root = resume(tmp_path, executor, ledger, Engine((survivor("old"),)), Exit(0))
    assert (root.phase, len(root.attempts)) == (Phase.SUCCEEDED, 1)
    assert ObjectStore(tmp_path / "objects").path_of(f"{root.outputs}/outputs.pb").is_file()
