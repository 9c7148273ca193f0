"""Takes actions from their queue to their end: the cache, attempts, retries, time limits, abort.

One asyncio task per action that is under way; each attempt is `flytebuild.runtime.attempts`'. What a control plane that
was killed left under way is taken up again by `resume`.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from flytebuild.runtime.actions import FinishedError, Ledger
from flytebuild.runtime.admission import Capacity
from flytebuild.runtime.attempts import Attempts
from flytebuild.runtime.chores import Chores
from flytebuild.runtime.container import Secrets, Site, no_secrets
from flytebuild.runtime.executor import Executor, Survivors
from flytebuild.runtime.limits import Limits
from flytebuild.runtime.logs import LogBook
from flytebuild.runtime.model import Action, ActionKey, Attempt, Cache, Failure, Phase
from flytebuild.runtime.pods import LEFT_OUT
from flytebuild.runtime.results import NoTable, Results, is_overwriting
from flytebuild.runtime.stores import Store
from flytebuild.runtime.verdict import retry_delay, seconds

log = logging.getLogger(__name__)


class Supervisor:
    """Executes the task actions of a ledger."""

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        logs: LogBook,
        executor: Executor,
        site: Site,
        *,
        starts: int,
        capacity: Capacity = Capacity(),  # noqa: B008 - a frozen value
        results: Results | None = None,
        secrets: Secrets = no_secrets,
        silence: float = 0,
    ) -> None:
        """`silence` bounds, in seconds, how long a container may run without a request; 0 is no bound."""
        self._ledger = ledger
        self._logs = logs
        self._executor = executor
        self._limits = Limits()
        self._chores = Chores()
        self._attempts = Attempts(
            ledger,
            store,
            logs,
            executor,
            site,
            starts=starts,
            capacity=capacity,
            secrets=secrets,
            silence=silence,
            limits=self._limits,
            chores=self._chores,
        )
        self._results = results or Results(NoTable(), store)
        self._under_way: dict[ActionKey, asyncio.Task[None]] = {}
        self._has_told_interruptible = False
        self._told: set[str] = set()

    def heard(self, key: ActionKey, number: int) -> None:
        """Note that the container of an attempt has made a request; the first one counts."""
        self._attempts.heard(key, number)

    def submit(self, key: ActionKey) -> None:
        """Begin to execute a queued action; returns at once."""
        task = asyncio.create_task(self._supervise(key), name=f"{key.run}/{key.name}")
        self._under_way[key] = task
        task.add_done_callback(lambda _: self._under_way.pop(key, None))

    async def resume(self, survivors: Survivors) -> tuple[int, int]:
        """Take up what an earlier control plane left under way, and remove the containers that nobody wants.

        How many actions go on, and how many containers were unknown. Belongs before the first request. Raises
        StartError when the engine does not answer.
        """
        found = await survivors.found()
        for action in self._ledger.unfinished():
            if action.parent and self._ledger.action(ActionKey(action.key.run, action.parent)).phase.is_terminal:
                self.abort(action.key, f"its parent `{action.parent}` has ended")
        unfinished = {action.key: action for action in self._ledger.unfinished() if action.task is not None}
        unknown = 0
        # A container that was started ahead of its attempt has no label of that.
        keys = {action.last.container: action.key for action in unfinished.values() if action.last}
        for item in found:
            if not item.run and (key := keys.get(item.started.container)) and (last := unfinished[key].last):
                item = replace(item, run=key.run, action=key.name, attempt=last.number)
            key = ActionKey(item.run, item.action)
            last = unfinished[key].last if key in unfinished else None
            if item.has_run and last is not None and last.number == item.attempt and not last.phase.is_terminal:
                survivors.attach(item.started, self._logs.path(key, item.attempt))
                self._attempts.survivors[key, item.attempt] = item
            else:
                unknown += 1
                self._chores.later(self._executor.remove(item.started))
        for key in unfinished:
            self._limits.resumed.add(key)
            self.submit(key)
        return len(unfinished), unknown

    def abort(self, key: ActionKey, reason: str) -> None:
        """End an action and everything below it; their containers are killed."""
        if self._ledger.finish(key, Phase.ABORTED, reason=reason) and (task := self._under_way.get(key)):
            task.cancel()
        for survivor in [item for item in self._attempts.survivors if item[0] == key]:
            # Cancelled before it began, its task would not have seen the container.
            self._chores.later(self._executor.remove(self._attempts.survivors.pop(survivor).started))
        for child in self._ledger.children(key):
            self.abort(child.key, reason)

    async def aclose(self) -> None:
        """Refuse new work from now on, abort everything that runs and wait until no container is left."""
        self._ledger.seal()
        for action in self._ledger.unfinished():
            self.abort(action.key, "the control plane was stopped")
        for task in self._under_way.values():
            task.cancel()
        while pending := [*self._under_way.values(), *self._chores.pending]:
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
        """Bring an action to its end, within its deadline."""
        action = self._ledger.action(key)
        assert action.task is not None  # noqa: S101 - only tasks are submitted
        self._tell_interruptible(action)
        self._tell_left_out(action)
        deadline = seconds(action.task.task_template.metadata.timeouts.deadline)
        try:
            await asyncio.wait_for(self._obtain(action), self._limits.left(deadline, key, action.created))
        except asyncio.TimeoutError:
            if not deadline:
                raise  # Somebody else's: the same class tells of a store that does not answer.
            message = f"The action did not end within its deadline of {deadline:g} s"
            self._ledger.finish(key, Phase.TIMED_OUT, failure=Failure("DEADLINE_EXCEEDED", message))

    async def _obtain(self, action: Action) -> None:
        """Take an action's result from the cache, or execute it."""
        run = self._ledger.run(action.key.run)
        async with self._results.flight(run, action):
            if not action.attempts and (found := await self._results.find(run, action)):
                source = f"{found.run}/{found.action}"
                facts = {"outputs": found.outputs, "cache": Cache.HIT, "cached_from": source}
                self._ledger.finish(action.key, Phase.SUCCEEDED, **facts)  # type: ignore[arg-type]
                return
            if action.cache_key and not action.attempts:
                self._ledger.note(action.key, cache=Cache.SKIPPED if is_overwriting(run) else Cache.MISS)
            await self._try(self._ledger.action(action.key))

    async def _try(self, action: Action) -> None:
        """Attempt an action until it succeeds or may not be tried again."""
        assert action.task is not None  # noqa: S101 - only tasks are submitted
        template = action.task.task_template
        attempt = action.last
        while True:
            if attempt is None or attempt.phase.is_terminal:
                attempt = self._ledger.begin_attempt(action.key, template.container.image)
                self._logs.forget(action.key, attempt.number)
            phase, failure = await self._attempts.run(action, attempt, seconds(template.metadata.timeout))
            self._limits.resumed.discard(action.key)
            if failure is None:
                self._succeed(action, phase, attempt)
                return
            delay = retry_delay(template.metadata, attempt.number) if failure.is_recoverable else None
            if delay is None:
                self._ledger.finish(action.key, phase, failure=failure)
                return
            self._ledger.end_attempt(action.key, phase, failure)
            attempt = None
            await asyncio.sleep(delay)

    def _succeed(self, action: Action, phase: Phase, attempt: Attempt) -> None:
        cache = Cache.DISABLED
        if action.cache_key and not self._ledger.action(action.key).phase.is_terminal:
            self._results.keep(self._ledger.run(action.key.run), action, attempt.outputs)
            cache = Cache.POPULATED
        self._ledger.finish(action.key, phase, outputs=attempt.outputs, cache=cache)

    def _tell_left_out(self, action: Action) -> None:
        """Say, once for each task, what of its pod has no counterpart here."""
        assert action.task is not None  # noqa: S101 - only tasks are submitted
        left_out = action.task.task_template.config.get(LEFT_OUT)
        if left_out and action.task_name not in self._told:
            self._told.add(action.task_name)
            log.warning("task `%s` runs in the primary container of its pod; left out: %s", action.task_name, left_out)

    def _tell_interruptible(self, action: Action) -> None:
        if action.task is None or self._has_told_interruptible:
            return
        if (
            action.task.task_template.metadata.interruptible
            or self._ledger.run(action.key.run).spec.interruptible.value
        ):
            self._has_told_interruptible = True
            log.warning("task `%s` is interruptible; nothing interrupts a task on this machine", action.task_name)
