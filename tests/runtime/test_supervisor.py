from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from flyteidl2.task.common_pb2 import Outputs

from flytebuild.runtime.actions import Ledger, SealedError
from flytebuild.runtime.admission import Capacity
from flytebuild.runtime.archives import Entry, pieces
from flytebuild.runtime.container import Order
from flytebuild.runtime.executor import StartError
from flytebuild.runtime.journal import FILE_NAME, Database
from flytebuild.runtime.logs import LogBook
from flytebuild.runtime.model import Action, ActionKey, Cache, Phase
from flytebuild.runtime.results import Results
from flytebuild.runtime.storage import ObjectStore
from flytebuild.runtime.supervisor import Supervisor
from flytebuild.runtime.verdict import Exit
from tests.runtime import samples
from tests.runtime.conftest import SITE, ScriptedExecutor

ROOT = ActionKey("r1", "a0")


class Scene:
    def __init__(
        self, folder: Path, executor: ScriptedExecutor, root: Action, capacity: Capacity, silence: float
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.store = ObjectStore(folder / "objects")
        self.database = Database(folder / FILE_NAME)
        self.ledger = Ledger(self.database)
        self.supervisor = Supervisor(
            self.ledger,
            self.store,
            LogBook(folder / "logs"),
            executor,
            SITE,
            starts=2,
            capacity=capacity,
            results=Results(self.database, self.store),
            silence=silence,
        )
        self.ledger.create_run(samples.run(), root)
        self.supervisor.submit(ROOT)

    async def until(self, is_reached: Callable[[Action], bool], key: ActionKey = ROOT) -> Action:
        async for changed in self.ledger.watch(key.run, lambda action: action.key == key, 10):
            assert changed, "nothing happened"
            if is_reached(changed[0]):
                return changed[0]
        raise AssertionError


def play(
    folder: Path,
    executor: ScriptedExecutor,
    root: Action,
    act: Callable[[Scene], Awaitable[None]],
    capacity: Capacity = Capacity(),  # noqa: B008 - a frozen value
    silence: float = 0,
) -> None:
    async def main() -> None:
        scene = Scene(folder, executor, root, capacity, silence)
        await act(scene)
        await scene.supervisor.aclose()
        scene.database.close()
        assert sorted(executor.removed) == sorted(executor.running), "every container is removed"

    asyncio.run(main())


def is_over(action: Action) -> bool:
    return action.phase.is_terminal


def is_running(action: Action) -> bool:
    return action.phase is Phase.RUNNING


def write_error(folder: Path, order: Order, *, recoverable: bool) -> None:
    """What a failing task does in its container: it leaves an error document below its outputs."""
    prefix = order.arguments[order.arguments.index("--outputs-path") + 1]
    path = folder / "objects" / prefix.removeprefix("s3://") / "error.pb"
    path.parent.mkdir(parents=True)
    path.write_bytes(samples.error_document("ValueError", "no", recoverable=recoverable))


def test_success(tmp_path: Path, executor: ScriptedExecutor) -> None:
    executor.script = lambda _order, _number: Exit(0)

    async def act(scene: Scene) -> None:
        action = await scene.until(is_over)
        assert action.phase is Phase.SUCCEEDED
        assert action.last is not None
        assert (action.last.container, action.last.image_id, action.last.exit_code) == ("container-1", "sha256:abc", 0)

    play(tmp_path, executor, samples.action(), act)


@pytest.mark.parametrize(("recoverable", "attempts"), [(True, 3), (False, 1)])
def test_only_recoverable_failures_are_retried(
    tmp_path: Path, executor: ScriptedExecutor, recoverable: bool, attempts: int
) -> None:
    def script(order: Order, number: int) -> Exit:
        write_error(tmp_path, order, recoverable=recoverable)
        return Exit(0)

    executor.script = script

    async def act(scene: Scene) -> None:
        action = await scene.until(is_over)
        assert action.phase is Phase.FAILED
        assert action.failure is not None
        assert action.failure.code == "ValueError"
        assert len(action.attempts) == attempts

    play(tmp_path, executor, samples.action(spec=samples.task_spec(retries=2)), act)


def test_a_retry_may_succeed(tmp_path: Path, executor: ScriptedExecutor) -> None:
    executor.script = lambda _order, number: Exit(3 if number == 1 else 0)

    async def act(scene: Scene) -> None:
        action = await scene.until(is_over)
        assert action.phase is Phase.SUCCEEDED
        assert [attempt.phase for attempt in action.attempts] == [Phase.FAILED, Phase.SUCCEEDED]
        assert action.outputs.endswith("/a0/2")
        assert [order.environment["FLYTE_ATTEMPT_NUMBER"] for order in executor.orders] == ["0", "1"]

    play(tmp_path, executor, samples.action(spec=samples.task_spec(retries=1)), act)


def test_an_image_that_cannot_be_had(tmp_path: Path, executor: ScriptedExecutor) -> None:
    executor.script = lambda _order, _number: StartError("ImagePullBackOff", "no such image")

    async def act(scene: Scene) -> None:
        action = await scene.until(is_over)
        assert action.failure is not None
        assert (action.failure.code, action.failure.is_system) == ("ImagePullBackOff", True)
        executor.running.clear()

    play(tmp_path, executor, samples.action(), act)


def test_a_time_limit_ends_the_attempt(tmp_path: Path, executor: ScriptedExecutor) -> None:
    async def act(scene: Scene) -> None:
        action = await scene.until(is_over)
        assert action.phase is Phase.TIMED_OUT
        assert action.failure is not None
        assert action.failure.code == "MAX_RUNTIME_EXCEEDED"

    play(tmp_path, executor, samples.action(spec=samples.task_spec(timeout=0.01)), act)


def test_a_deadline_covers_all_attempts(tmp_path: Path, executor: ScriptedExecutor) -> None:
    spec = samples.task_spec(retries=9)
    spec.task_template.metadata.timeouts.deadline.nanos = 10_000_000

    async def act(scene: Scene) -> None:
        action = await scene.until(is_over)
        assert (action.phase, len(action.attempts)) == (Phase.TIMED_OUT, 1)
        assert action.failure is not None
        assert action.failure.code == "DEADLINE_EXCEEDED"

    play(tmp_path, executor, samples.action(spec=spec), act)


def test_abort_reaches_everything_below(tmp_path: Path, executor: ScriptedExecutor) -> None:
    async def act(scene: Scene) -> None:
        keys = [ROOT, ActionKey("r1", "c1"), ActionKey("r1", "c2")]
        for key, parent in zip(keys[1:], keys, strict=False):
            await scene.until(is_running, parent)
            scene.ledger.add(samples.action(key.name, parent=parent.name))
            scene.supervisor.submit(key)
        await scene.until(is_running, keys[-1])
        scene.supervisor.abort(ROOT, "enough")
        assert [scene.ledger.action(key).phase for key in keys] == [Phase.ABORTED] * 3

    play(tmp_path, executor, samples.action(), act)


def test_abort_while_the_container_starts(tmp_path: Path, executor: ScriptedExecutor) -> None:
    async def act(scene: Scene) -> None:
        await scene.until(lambda action: action.phase is Phase.INITIALIZING)
        scene.supervisor.abort(ROOT, "enough")

    play(tmp_path, executor, samples.action(), act)
    assert executor.removed == ["container-1"]


def test_an_action_that_ends_while_its_container_is_made_stays_as_it_is(
    tmp_path: Path, executor: ScriptedExecutor
) -> None:
    async def act(scene: Scene) -> None:
        await scene.until(lambda action: action.phase is Phase.INITIALIZING)
        scene.ledger.finish(ROOT, Phase.ABORTED, reason="enough")

    play(tmp_path, executor, samples.action(spec=samples.task_spec(retries=3)), act)
    assert len(executor.orders) <= 1


def test_a_retry_does_not_bring_an_aborted_action_back(tmp_path: Path, executor: ScriptedExecutor) -> None:
    spec = samples.task_spec(retries=3)

    async def act(scene: Scene) -> None:
        await scene.until(is_running)
        scene.ledger.finish(ROOT, Phase.ABORTED, reason="enough")
        executor.running["container-1"].set_result(Exit(3))
        await scene.supervisor.aclose()
        action = scene.ledger.action(ROOT)
        assert (action.phase, len(action.attempts)) == (Phase.ABORTED, 1)

    play(tmp_path, executor, samples.action(spec=spec), act)
    assert len(executor.orders) == 1


def test_nothing_begins_once_the_end_has_begun(tmp_path: Path, executor: ScriptedExecutor) -> None:
    async def act(scene: Scene) -> None:
        await scene.until(is_running)
        closing = asyncio.ensure_future(scene.supervisor.aclose())
        await asyncio.sleep(0)
        with pytest.raises(SealedError):
            scene.ledger.create_run(samples.run("r2"), samples.action(run_name="r2"))
        await closing
        # A request that was on its way: its action is there, and aborted.
        scene.supervisor.submit(ROOT)
        await scene.supervisor.aclose()

    play(tmp_path, executor, samples.action(), act)
    assert len(executor.orders) == 1


def test_a_log_that_an_earlier_run_of_the_name_left_is_not_shown(tmp_path: Path, executor: ScriptedExecutor) -> None:
    path = LogBook(tmp_path / "logs").path(ROOT, 1)
    path.parent.mkdir(parents=True)
    path.write_text("from another life\n")

    async def act(scene: Scene) -> None:
        await scene.until(is_running)
        assert LogBook(tmp_path / "logs").tail(ROOT, 1, 1) == ([], False)

    play(tmp_path, executor, samples.action(), act)


def test_a_log_that_cannot_be_read_changes_no_verdict(tmp_path: Path, executor: ScriptedExecutor) -> None:
    executor.script = lambda _order, _number: Exit(0)
    LogBook(tmp_path / "logs").path(ROOT, 1).mkdir(parents=True)

    async def act(scene: Scene) -> None:
        assert (await scene.until(is_over)).phase is Phase.SUCCEEDED

    play(tmp_path, executor, samples.action(), act)


def test_a_parent_that_ends_takes_its_children_along(tmp_path: Path, executor: ScriptedExecutor) -> None:
    async def act(scene: Scene) -> None:
        child = ActionKey("r1", "c1")
        await scene.until(is_running)
        scene.ledger.add(samples.action("c1", parent="a0"))
        scene.supervisor.submit(child)
        await scene.until(is_running, child)
        executor.running["container-1"].set_result(Exit(0))
        action = await scene.until(is_over, child)
        assert action.phase is Phase.ABORTED
        assert scene.ledger.action(ROOT).phase is Phase.SUCCEEDED

    play(tmp_path, executor, samples.action(), act)


def test_waiting_parents_do_not_hold_up_their_children(tmp_path: Path, executor: ScriptedExecutor) -> None:
    """Five nested levels with room for two starts at a time."""

    async def act(scene: Scene) -> None:
        keys = [ROOT, *(ActionKey("r1", f"c{level}") for level in range(5))]
        for key, parent in zip(keys[1:], keys, strict=False):
            await scene.until(is_running, parent)
            scene.ledger.add(samples.action(key.name, parent=parent.name))
            scene.supervisor.submit(key)
        await scene.until(is_running, keys[-1])

    play(tmp_path, executor, samples.action(), act)


def test_what_cannot_be_executed_fails_with_its_reason(tmp_path: Path, executor: ScriptedExecutor) -> None:
    spec = samples.task_spec()
    spec.task_template.security_context.secrets.add(key="token")

    async def act(scene: Scene) -> None:
        action = await scene.until(is_over)
        assert action.failure is not None
        assert "`token`" in action.failure.message

    play(tmp_path, executor, samples.action(spec=spec), act)
    assert executor.orders == []


def test_an_attempt_waits_for_room_and_says_so(tmp_path: Path, executor: ScriptedExecutor) -> None:
    spec = samples.task_spec()
    spec.task_template.container.resources.requests.add(name=1, value="2")

    async def act(scene: Scene) -> None:
        await scene.until(is_running)
        second = ActionKey("r2", "a0")
        scene.ledger.create_run(samples.run("r2"), samples.action(spec=spec, run_name="r2"))
        scene.supervisor.submit(second)
        waiting = await scene.until(lambda action: action.phase is Phase.WAITING_FOR_RESOURCES, second)
        assert waiting.last is not None
        assert waiting.last.waiting_for == "waiting for 2 CPUs (0 CPUs free)"
        executor.running["container-1"].set_result(Exit(0))
        running = await scene.until(is_running, second)
        assert running.last is not None
        assert running.last.waiting_for == ""

    play(tmp_path, executor, samples.action(spec=spec), act, Capacity(cpu=2000))


def test_parents_that_wait_hold_no_room(tmp_path: Path, executor: ScriptedExecutor) -> None:
    """Five nested levels on one CPU, which each of them asks for."""
    spec = samples.task_spec()
    spec.task_template.container.resources.requests.add(name=1, value="1")

    async def act(scene: Scene) -> None:
        keys = [ROOT, *(ActionKey("r1", f"c{level}") for level in range(4))]
        for key, parent in zip(keys[1:], keys, strict=False):
            await scene.until(is_running, parent)
            scene.ledger.add(samples.action(key.name, parent=parent.name, spec=spec))
            scene.supervisor.submit(key)
        await scene.until(is_running, keys[-1])
        for key, container in zip(reversed(keys), range(5, 0, -1), strict=True):
            executor.running[f"container-{container}"].set_result(Exit(0))
            assert (await scene.until(is_over, key)).phase is Phase.SUCCEEDED

    play(tmp_path, executor, samples.action(spec=spec), act, Capacity(cpu=1000))


def test_a_request_larger_than_the_machine_fails_at_once(tmp_path: Path, executor: ScriptedExecutor) -> None:
    spec = samples.task_spec(retries=3)
    spec.task_template.container.resources.requests.add(name=1, value="64")

    async def act(scene: Scene) -> None:
        action = await scene.until(is_over)
        assert action.failure is not None
        assert action.failure.code == "InsufficientResources"
        assert action.failure.message == "Task `env.work` asks for 64 CPUs, where this machine has 2 CPUs"

    play(tmp_path, executor, samples.action(spec=spec), act, Capacity(cpu=2000))
    assert executor.orders == []


def test_a_limit_on_the_time_in_the_queue(tmp_path: Path, executor: ScriptedExecutor) -> None:
    spec = samples.task_spec()
    spec.task_template.container.resources.requests.add(name=1, value="1")
    patient = samples.task_spec()
    patient.CopyFrom(spec)
    spec.task_template.metadata.timeouts.queued_timeout.nanos = 10_000_000

    async def act(scene: Scene) -> None:
        await scene.until(is_running)
        second = ActionKey("r2", "a0")
        scene.ledger.create_run(samples.run("r2"), samples.action(spec=spec, run_name="r2"))
        scene.supervisor.submit(second)
        action = await scene.until(is_over, second)
        assert action.phase is Phase.TIMED_OUT
        assert action.failure is not None
        assert action.failure.code == "QUEUED_TIMEOUT_EXCEEDED"

    play(tmp_path, executor, samples.action(spec=patient), act, Capacity(cpu=1000))


def test_a_result_is_taken_from_the_cache_without_a_container(tmp_path: Path, executor: ScriptedExecutor) -> None:
    def script(order: Order, _number: int) -> Exit:
        prefix = order.arguments[order.arguments.index("--outputs-path") + 1]
        path = tmp_path / "objects" / prefix.removeprefix("s3://") / "outputs.pb"
        path.parent.mkdir(parents=True)
        path.touch()
        return Exit(0)

    executor.script = script

    async def act(scene: Scene) -> None:
        assert (await scene.until(is_over)).cache is Cache.POPULATED
        for name, overwrites, outcome in (("r2", False, Cache.HIT), ("r3", True, Cache.POPULATED)):
            run, key = samples.run(name), ActionKey(name, "a0")
            run.spec.overwrite_cache = overwrites
            scene.ledger.create_run(run, replace(samples.action(run_name=name), cache_key="k"))
            scene.supervisor.submit(key)
            action = await scene.until(is_over, key)
            assert (action.phase, action.cache) == (Phase.SUCCEEDED, outcome)
            if outcome is Cache.HIT:
                assert (action.cached_from, action.attempts) == ("r1/a0", ())
                assert action.outputs == scene.ledger.action(ROOT).outputs

    play(tmp_path, executor, replace(samples.action(), cache_key="k"), act)
    assert len(executor.orders) == 2


def test_interruptible_is_said_once(
    tmp_path: Path, executor: ScriptedExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    executor.script = lambda _order, _number: Exit(0)
    spec = samples.task_spec()
    spec.task_template.metadata.interruptible = True

    async def act(scene: Scene) -> None:
        await scene.until(is_over)
        scene.ledger.create_run(samples.run("r2"), samples.action(spec=spec, run_name="r2"))
        scene.supervisor.submit(ActionKey("r2", "a0"))
        await scene.until(is_over, ActionKey("r2", "a0"))

    play(tmp_path, executor, samples.action(spec=spec), act)
    assert caplog.text.count("nothing interrupts a task") == 1


def test_a_container_that_makes_no_request_is_given_up(tmp_path: Path, executor: ScriptedExecutor) -> None:
    async def silent(scene: Scene) -> None:
        ended = await scene.until(lambda action: action.phase.is_terminal)
        assert ended.failure is not None
        assert (ended.phase, ended.failure.code, len(ended.attempts)) == (Phase.FAILED, "ContainerSilent", 2)
        assert ended.failure.is_system
        assert "no request within 0.05 s of its start" in ended.failure.message
        assert executor.removed == ["container-1", "container-2"]

    async def heard(scene: Scene) -> None:
        await scene.until(lambda action: action.phase is Phase.RUNNING)
        scene.supervisor.heard(ROOT, 1)
        await asyncio.sleep(0.2)  # Several times the limit: there is nothing to wait for.
        assert scene.ledger.action(ROOT).phase is Phase.RUNNING
        scene.supervisor.abort(ROOT, "enough")

    play(tmp_path / "silent", executor, samples.action(spec=samples.task_spec(retries=1)), silent, silence=0.05)
    play(tmp_path / "heard", executor, samples.action(), heard, silence=0.1)


def left(text: bytes) -> dict[str, bytes]:
    """What a container without Flyte leaves, whose output `x` is this text."""
    return {"/out": b"".join(pieces((Entry("out", None, 0o755), Entry("out/x", text, 0o644))))}


@pytest.mark.parametrize(
    ("end", "text", "phase", "code"),
    [
        (Exit(0), b"7", Phase.SUCCEEDED, None),
        (Exit(0), b"seven", Phase.FAILED, "OutputsUnusable"),
        (Exit(2), b"7", Phase.FAILED, "NonZeroExit"),
        (Exit(None, problem="gone"), b"7", Phase.FAILED, "ContainerLost"),
    ],
)
def test_what_a_container_without_flyte_leaves_is_fetched_before_it_is_removed(
    tmp_path: Path, executor: ScriptedExecutor, end: Exit, text: bytes, phase: Phase, code: str | None
) -> None:
    executor.script = lambda _order, _number: end
    executor.left = left(text)

    async def act(scene: Scene) -> None:
        action = await scene.until(is_over)
        assert (action.phase, action.failure.code if action.failure else None) == (phase, code)
        outputs = Outputs.FromString(await scene.store.read(f"{samples.attempt().outputs}/outputs.pb") or b"")
        assert [item.value.scalar.primitive.integer for item in outputs.literals] == ([] if code else [7])

    play(tmp_path, executor, samples.action(spec=samples.raw_spec()), act)
    assert [entry.path for entry in executor.orders[0].files] == ["in", "out", "in/inputs.pb", "in/inputs.json"]
