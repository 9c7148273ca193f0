"""Takes actions from their queue to their end: attempts, retries, time limits, abort.

One asyncio task per action that is under way. Only the creation and the start of containers are limited; a running
one never is, since a parent runs while it waits for its children.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from typing import Any

from flytebuild.runtime.actions import FinishedError, Ledger
from flytebuild.runtime.container import Order, OrderError, Site, order
from flytebuild.runtime.executor import Executor, Started, StartError
from flytebuild.runtime.logs import LogBook
from flytebuild.runtime.model import Action, ActionKey, Attempt, Failure, Phase
from flytebuild.runtime.storage import ObjectNameError, ObjectStore
from flytebuild.runtime.verdict import Exit, judge, retry_delay, seconds

log = logging.getLogger(__name__)

_LAST_WORDS = 10
"""Lines of its log that go into the error of a container that wrote no error document."""


class Supervisor:
    """Executes the task actions of a ledger."""

    def __init__(
        self, ledger: Ledger, store: ObjectStore, logs: LogBook, executor: Executor, site: Site, *, starts: int
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._logs = logs
        self._executor = executor
        self._site = site
        self._starts = asyncio.Semaphore(starts)
        self._under_way: dict[ActionKey, asyncio.Task[None]] = {}
        self._chores: set[asyncio.Task[None]] = set()

    def submit(self, key: ActionKey) -> None:
        """Begin to execute a queued action; returns at once."""
        task = asyncio.create_task(self._supervise(key), name=f"{key.run}/{key.name}")
        self._under_way[key] = task
        task.add_done_callback(lambda _: self._under_way.pop(key, None))

    def abort(self, key: ActionKey, reason: str) -> None:
        """End an action and everything below it; their containers are killed."""
        if self._ledger.finish(key, Phase.ABORTED, reason=reason) and (task := self._under_way.get(key)):
            task.cancel()
        for child in self._ledger.children(key):
            self.abort(child.key, reason)

    async def aclose(self) -> None:
        """Refuse new work from now on, abort everything that runs and wait until no container is left."""
        self._ledger.seal()
        for run in list(self._ledger.runs()):
            self.abort(self._ledger.root(run.name).key, "the control plane was stopped")
        for task in self._under_way.values():
            task.cancel()
        while pending := [*self._under_way.values(), *self._chores]:
            await asyncio.wait(pending)

    async def _supervise(self, key: ActionKey) -> None:
        try:
            await self._execute(key)
        except FinishedError:
            # It was aborted on the way; that verdict stands.
            pass
        except Exception as error:
            # Whatever goes wrong here must not leave the SDK waiting for ever.
            log.exception("action %s of run %s", key.name, key.run)
            failure = Failure("ControlPlaneError", f"{type(error).__name__}: {error}", is_system=True)
            self._ledger.finish(key, Phase.FAILED, failure=failure)
        finally:
            for child in self._ledger.children(key):
                if not child.phase.is_terminal:
                    self.abort(child.key, f"its parent `{key.name}` has ended")

    async def _execute(self, key: ActionKey) -> None:
        """Attempt an action until it succeeds or may not be tried again."""
        action = self._ledger.action(key)
        assert action.task is not None  # noqa: S101 - only tasks are submitted
        template = action.task.task_template
        deadline = seconds(template.metadata.timeouts.deadline)
        try:
            await asyncio.wait_for(self._attempts(action), deadline or None)
        except asyncio.TimeoutError:
            if not deadline:
                raise  # Somebody else's: the same class tells of a store that does not answer.
            message = f"The action did not end within its deadline of {deadline:g} s"
            self._ledger.finish(key, Phase.TIMED_OUT, failure=Failure("DEADLINE_EXCEEDED", message))

    async def _attempts(self, action: Action) -> None:
        assert action.task is not None  # noqa: S101 - only tasks are submitted
        template = action.task.task_template
        while True:
            attempt = self._ledger.begin_attempt(action.key, template.container.image)
            self._logs.forget(action.key, attempt.number)
            phase, failure = await self._attempt(action, attempt, seconds(template.metadata.timeout))
            if failure is None:
                self._ledger.finish(action.key, phase, outputs=attempt.outputs)
                return
            delay = retry_delay(template.metadata, attempt.number) if failure.is_recoverable else None
            if delay is None:
                self._ledger.finish(action.key, phase, failure=failure)
                return
            self._ledger.end_attempt(action.key, phase, failure)
            await asyncio.sleep(delay)

    async def _attempt(self, action: Action, attempt: Attempt, limit: float) -> tuple[Phase, Failure | None]:
        """One container from start to verdict; `limit` is in seconds, 0 for none."""
        assert action.task is not None  # noqa: S101 - only tasks are submitted
        key = action.key
        try:
            wanted = order(self._ledger.run(key.run), action, attempt, self._site)
            self._ledger.advance(key, Phase.INITIALIZING)
            started = await self._start(wanted, key, attempt)
        except OrderError as error:
            return Phase.FAILED, Failure("Unsupported", str(error))
        except StartError as error:
            return Phase.FAILED, Failure(error.code, error.message, is_system=error.is_system, is_recoverable=True)
        try:
            self._ledger.advance(key, Phase.RUNNING, container=started.container, image_id=started.image_id)
            exit_ = await asyncio.wait_for(self._executor.wait(started), limit or None)
        except asyncio.TimeoutError:
            if not limit:
                raise
            message = f"The attempt ran longer than its limit of {limit:g} s"
            return Phase.TIMED_OUT, Failure("MAX_RUNTIME_EXCEEDED", message, is_recoverable=True)
        finally:
            self._later(self._executor.remove(started))
        self._ledger.advance(key, Phase.RUNNING, exit_code=exit_.code)
        return await self._judge(action, attempt, exit_)

    async def _judge(self, action: Action, attempt: Attempt, exit_: Exit) -> tuple[Phase, Failure | None]:
        """The verdict on an attempt whose container has ended."""
        assert action.task is not None  # noqa: S101 - only tasks are submitted
        try:
            document = await self._store.read(f"{attempt.outputs}/error.pb")
            has_outputs = self._store.has(f"{attempt.outputs}/outputs.pb")
        except ObjectNameError as error:
            return Phase.FAILED, Failure("OutputsUnreachable", str(error))
        needs_outputs = bool(action.task.task_template.interface.outputs.variables)
        try:
            lines, _ = self._logs.tail(action.key, attempt.number, _LAST_WORDS)
        except OSError as error:
            log.warning("the log of action %s cannot be read: %s", action.key.name, error)
            lines = []
        failure = judge(
            exit_,
            document,
            has_outputs=has_outputs,
            needs_outputs=needs_outputs,
            last_words="\n".join(line.text for line in lines),
        )
        return (Phase.FAILED if failure else Phase.SUCCEEDED), failure

    async def _start(self, wanted: Order, key: ActionKey, attempt: Attempt) -> Started:
        """Start a container; when the action is aborted meanwhile, nothing is left of it, without a wait for that."""

        def tell(words: str) -> None:
            with contextlib.suppress(FinishedError):
                self._ledger.advance(key, Phase.INITIALIZING, waiting_for=words)

        path = self._logs.path(key, attempt.number)
        starting = asyncio.ensure_future(self._executor.start(wanted, path, self._starts, tell))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            self._later(self._discard(starting))
            raise

    async def _discard(self, starting: asyncio.Future[Started]) -> None:
        starting.cancel()
        await asyncio.wait([starting])
        if not starting.cancelled() and starting.exception() is None:
            await self._executor.remove(starting.result())

    def _later(self, chore: Coroutine[Any, Any, None]) -> None:
        """Do something that nobody waits for, except for `aclose`."""
        task = asyncio.create_task(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)
