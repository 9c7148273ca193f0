"""Takes actions from their queue to their end: the cache, attempts, retries, time limits, abort.

One asyncio task per action that is under way. An attempt waits for its admission first, and the start of containers is
limited besides. What a control plane that was killed left under way is taken up again by `resume`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from flytebuild.runtime.actions import FinishedError, Ledger
from flytebuild.runtime.admission import Admission, Amounts, Capacity, Demand, Pools, demand, excess
from flytebuild.runtime.beginnings import Beginnings
from flytebuild.runtime.container import Order, OrderError, Secrets, Site, no_secrets, order, reuse_of
from flytebuild.runtime.executor import Executor, Started, StartError, Survivor, Survivors, Tell
from flytebuild.runtime.logs import LogBook
from flytebuild.runtime.model import Action, ActionKey, Attempt, Cache, Failure, Phase, now
from flytebuild.runtime.raw_container import RawContainers, is_raw
from flytebuild.runtime.reach import Reach
from flytebuild.runtime.results import NoTable, Results, is_overwriting
from flytebuild.runtime.reuse import Reuse
from flytebuild.runtime.storage import ObjectNameError
from flytebuild.runtime.stores import Store
from flytebuild.runtime.verdict import Exit, judge, retry_delay, seconds

log = logging.getLogger(__name__)

_LAST_WORDS = 10
"""Lines of its log that go into the error of a container that wrote no error document."""


class _RefusedError(Exception):
    """Raised for an attempt whose container is not asked for, or not waited for, with the verdict on it."""

    def __init__(self, phase: Phase, failure: Failure) -> None:
        super().__init__(failure.message)
        self.phase = phase
        self.failure = failure


def _share(needs: Demand, reuse: Reuse | None) -> Amounts:
    return needs.counted.share(reuse.concurrency or 1) if reuse else needs.counted


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
        self._silence = silence
        self._ledger = ledger
        self._store = store
        self._logs = logs
        self._executor = executor
        self._site = site
        self._beginnings = Beginnings(starts)
        self._admission = Admission(capacity, ledger.has_live_children)
        self._pools = Pools(ledger.has_live_children)
        self._secrets = secrets
        self._raw = RawContainers(store, Reach(ledger, store).of)
        self._results = results or Results(NoTable(), store)
        self._survivors: dict[tuple[ActionKey, int], Survivor] = {}
        self._resumed: set[ActionKey] = set()
        self._under_way: dict[ActionKey, asyncio.Task[None]] = {}
        self._chores: set[asyncio.Task[None]] = set()
        self._has_told_interruptible = False
        # A parent that begins to wait makes room.
        ledger.listen(lambda _: self._admission.reconsider())
        ledger.listen(lambda _: self._pools.reconsider())

    def submit(self, key: ActionKey) -> None:
        """Begin to execute a queued action; returns at once."""
        task = asyncio.create_task(self._supervise(key), name=f"{key.run}/{key.name}")
        self._under_way[key] = task
        task.add_done_callback(lambda _: self._under_way.pop(key, None))

    def heard(self, key: ActionKey, number: int) -> None:
        """Note that the container of an attempt has made a request; the first one counts."""
        self._beginnings.end(key, number)
        self._beginnings.end(key, number)
        action = self._ledger.action(key)
        is_first = action.last is not None and action.last.number == number and action.last.heard is None
        if is_first and not action.phase.is_terminal:
            self._ledger.advance(key, action.phase, heard=now())

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
                self._survivors[key, item.attempt] = item
            else:
                unknown += 1
                self._later(self._executor.remove(item.started))
        for key in unfinished:
            self._resumed.add(key)
            self.submit(key)
        return len(unfinished), unknown

    def abort(self, key: ActionKey, reason: str) -> None:
        """End an action and everything below it; their containers are killed."""
        if self._ledger.finish(key, Phase.ABORTED, reason=reason) and (task := self._under_way.get(key)):
            task.cancel()
        for survivor in [item for item in self._survivors if item[0] == key]:
            # Cancelled before it began, its task would not have seen the container.
            self._later(self._executor.remove(self._survivors.pop(survivor).started))
        for child in self._ledger.children(key):
            self.abort(child.key, reason)

    async def aclose(self) -> None:
        """Refuse new work from now on, abort everything that runs and wait until no container is left."""
        self._ledger.seal()
        for action in self._ledger.unfinished():
            self.abort(action.key, "the control plane was stopped")
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
        self._tell_interruptible(action)
        deadline = seconds(action.task.task_template.metadata.timeouts.deadline)
        try:
            await asyncio.wait_for(self._obtain(action), self._left(deadline, key, action.created))
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
            await self._attempts(self._ledger.action(action.key))

    async def _attempts(self, action: Action) -> None:
        assert action.task is not None  # noqa: S101 - only tasks are submitted
        template = action.task.task_template
        attempt = action.last
        while True:
            if attempt is None or attempt.phase.is_terminal:
                attempt = self._ledger.begin_attempt(action.key, template.container.image)
                self._logs.forget(action.key, attempt.number)
            try:
                phase, failure = await self._attempt(action, attempt, seconds(template.metadata.timeout))
            finally:
                self._beginnings.end(action.key, attempt.number)
                self._admission.leave(action.key)
                self._pools.leave(action.key)
            self._resumed.discard(action.key)
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

    async def _attempt(self, action: Action, attempt: Attempt, limit: float) -> tuple[Phase, Failure | None]:
        """One container from start to verdict; `limit` is in seconds, 0 for none."""
        key = action.key
        survivor = self._survivors.pop((key, attempt.number), None)
        if survivor is None and attempt.started:
            gone = "The container was gone when the control plane was started again"
            return await self._judge(action, attempt, Exit(attempt.exit_code, problem=gone))
        try:
            started = survivor.started if survivor else await self._begin(action, attempt)
        except OrderError as error:
            return Phase.FAILED, Failure(error.code, str(error))
        except StartError as error:
            return Phase.FAILED, Failure(error.code, error.message, is_system=error.is_system, is_recoverable=True)
        except _RefusedError as error:
            return error.phase, error.failure
        try:
            if survivor:
                self._count(action)
            self._ledger.advance(key, Phase.RUNNING, container=started.container, image_id=started.image_id)
            exit_ = await asyncio.wait_for(self._end(started, action), self._left(limit, key, attempt.started))
        except _RefusedError as error:
            return error.phase, error.failure
        except asyncio.TimeoutError:
            if not limit:
                raise
            message = f"The attempt ran longer than its limit of {limit:g} s"
            return Phase.TIMED_OUT, Failure("MAX_RUNTIME_EXCEEDED", message, is_recoverable=True)
        else:
            self._ledger.advance(key, Phase.RUNNING, exit_code=exit_.code)
            if failure := await self._collect(action, attempt, started, exit_):
                return Phase.FAILED, failure
        finally:
            self._later(self._executor.remove(started))
        return await self._judge(action, attempt, exit_)

    async def _end(self, started: Started, action: Action) -> Exit:
        """Wait for the end of a container; _RefusedError for one that has not made a request in time.

        That is counted from its start, or from when it was taken up again.
        """
        end = asyncio.ensure_future(self._executor.wait(started))
        try:
            if self._silence and not is_raw(action):
                await asyncio.wait([end], timeout=self._silence)
                last = self._ledger.action(action.key).last
                if not end.done() and last is not None and last.heard is None:
                    message = (
                        f"The container made no request within {self._silence:g} s of its start: either its image does "
                        f"not start Flyte's `a0`, or containers cannot reach {self._site.endpoint} (a firewall?)"
                    )
                    raise _RefusedError(Phase.FAILED, Failure("ContainerSilent", message, True, True))
            return await end
        finally:
            end.cancel()

    async def _collect(self, action: Action, attempt: Attempt, started: Started, exit_: Exit) -> Failure | None:
        """Take the outputs out of a container that cannot send them itself; why that failed, if it did."""
        if exit_.code != 0 or not is_raw(action):
            return None
        run = self._ledger.run(action.key.run)
        return await self._raw.collect(run, action, attempt, partial(self._executor.fetch, started))

    async def _begin(self, action: Action, attempt: Attempt) -> Started:
        """Wait for room, then start an attempt's container. Raises OrderError, StartError and _RefusedError."""
        assert action.task is not None  # noqa: S101 - only tasks are submitted
        key, template = action.key, action.task.task_template
        wanted = order(self._ledger.run(key.run), action, attempt, self._site, self._secrets)
        wanted = await self._raw.fill(replace(wanted, caller=self._caller(action)), action)
        needs = demand(template.container)
        if beyond := excess(needs.asked, self._admission.capacity):
            message = f"Task `{template.id.name}` asks for {beyond}"
            raise _RefusedError(Phase.FAILED, Failure("InsufficientResources", message))

        def tell(words: str) -> None:
            self._ledger.advance(key, Phase.WAITING_FOR_RESOURCES, waiting_for=words)

        limit = seconds(template.metadata.timeouts.queued_timeout)
        try:
            entering = self._enter(key, wanted.reuse, needs, tell)
            await asyncio.wait_for(entering, self._left(limit, key, attempt.created))
        except asyncio.TimeoutError:
            if not limit:
                raise
            message = f"There was no room for the attempt within its limit of {limit:g} s in the queue"
            failure = Failure("QUEUED_TIMEOUT_EXCEEDED", message, is_recoverable=True)
            raise _RefusedError(Phase.TIMED_OUT, failure) from None
        self._ledger.advance(key, Phase.INITIALIZING, waiting_for="")
        started = await self._start(wanted, key, attempt)
        if not self._silence or is_raw(action):
            # Nothing need be heard of it.
            self._beginnings.end(key, attempt.number)
        return started

    async def _enter(self, key: ActionKey, reuse: Reuse | None, needs: Demand, tell: Tell) -> None:
        """Wait for a place in its pool, then for room on the machine; a pool that is full holds up nobody else."""
        await self._pools.enter(key, reuse, tell)
        most = self._ledger.run(key.run).spec.max_action_concurrency or None
        await self._admission.enter(key, _share(needs, reuse), tell, most)

    def _caller(self, action: Action) -> str:
        return self._ledger.action(ActionKey(action.key.run, action.parent)).task_name if action.parent else ""

    def _count(self, action: Action) -> None:
        """Count an attempt that runs already; what it asks for could be read when it was started."""
        assert action.task is not None  # noqa: S101 - only tasks are submitted
        with contextlib.suppress(ValueError, OrderError):
            reuse = reuse_of(self._ledger.run(action.key.run), action, self._site)
            self._pools.hold(action.key, reuse)
            self._admission.hold(action.key, _share(demand(action.task.task_template.container), reuse))

    def _left(self, limit: float, key: ActionKey, since: datetime | None) -> float | None:
        """What is left of a limit, in seconds; None for a limit of 0.

        The clock on the wall counts only for what an earlier process began: it may step.
        """
        if not limit:
            return None
        elapsed = (now() - since).total_seconds() if since and key in self._resumed else 0.0
        return max(limit - max(elapsed, 0.0), 0.001)

    def _tell_interruptible(self, action: Action) -> None:
        if action.task is None or self._has_told_interruptible:
            return
        if (
            action.task.task_template.metadata.interruptible
            or self._ledger.run(action.key.run).spec.interruptible.value
        ):
            self._has_told_interruptible = True
            log.warning("task `%s` is interruptible; nothing interrupts a task on this machine", action.task_name)

    async def _judge(self, action: Action, attempt: Attempt, exit_: Exit) -> tuple[Phase, Failure | None]:
        """The verdict on an attempt whose container has ended."""
        assert action.task is not None  # noqa: S101 - only tasks are submitted
        try:
            document = await self._store.read(f"{attempt.outputs}/error.pb")
            has_outputs = await self._store.size(f"{attempt.outputs}/outputs.pb") is not None
        except ObjectNameError as error:
            return Phase.FAILED, Failure("OutputsUnreachable", str(error))
        except OSError as error:
            return Phase.FAILED, Failure("OutputsUnreachable", str(error.strerror or error), True, True)
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
        turn = self._beginnings.turn(key, attempt.number)
        starting = asyncio.ensure_future(self._executor.start(wanted, path, turn, tell))
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
