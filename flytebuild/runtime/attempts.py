"""One attempt at an action, from waiting for room to the verdict on its container."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace
from functools import partial

from flytebuild.runtime.actions import FinishedError, Ledger
from flytebuild.runtime.admission import Admission, Amounts, Capacity, Demand, Pools, demand, excess
from flytebuild.runtime.beginnings import Beginnings
from flytebuild.runtime.chores import Chores
from flytebuild.runtime.container import Order, OrderError, Secrets, Site, order, reuse_of
from flytebuild.runtime.executor import Executor, Started, StartError, Survivor, Tell
from flytebuild.runtime.limits import Limits
from flytebuild.runtime.logs import LogBook
from flytebuild.runtime.model import Action, ActionKey, Attempt, Failure, Phase, now
from flytebuild.runtime.raw_container import RawContainers, is_raw
from flytebuild.runtime.reach import Reach
from flytebuild.runtime.reuse import Reuse
from flytebuild.runtime.storage import ObjectNameError
from flytebuild.runtime.stores import Store
from flytebuild.runtime.verdict import Exit, judge, seconds

log = logging.getLogger(__name__)

_LAST_WORDS = 10
"""Lines of its log that go into the error of a container that wrote no error document."""


class _RefusedError(Exception):
    """Raised for an attempt whose container is not asked for, or not waited for, with the verdict on it."""

    def __init__(self, phase: Phase, failure: Failure) -> None:
        super().__init__(failure.message)
        self.phase = phase
        self.failure = failure


class Attempts:
    """Executes attempts: room on the machine, a container, its end, the verdict.

    `survivors` are the containers of an earlier control plane whose attempts go on, by action and attempt.
    """

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        logs: LogBook,
        executor: Executor,
        site: Site,
        *,
        starts: int,
        capacity: Capacity,
        secrets: Secrets,
        silence: float,
        limits: Limits,
        chores: Chores,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._logs = logs
        self._executor = executor
        self._site = site
        self._secrets = secrets
        self._silence = silence
        self._limits = limits
        self._chores = chores
        self._beginnings = Beginnings(starts)
        self._admission = Admission(capacity, ledger.has_live_children)
        self._pools = Pools(ledger.has_live_children)
        self._raw = RawContainers(store, Reach(ledger, store).of)
        self.survivors: dict[tuple[ActionKey, int], Survivor] = {}
        # A parent that begins to wait makes room.
        ledger.listen(lambda _: self._admission.reconsider())
        ledger.listen(lambda _: self._pools.reconsider())

    def heard(self, key: ActionKey, number: int) -> None:
        """Note that the container of an attempt has made a request; the first one counts."""
        self._beginnings.end(key, number)
        action = self._ledger.action(key)
        is_first = action.last is not None and action.last.number == number and action.last.heard is None
        if is_first and not action.phase.is_terminal:
            self._ledger.advance(key, action.phase, heard=now())

    async def run(self, action: Action, attempt: Attempt, limit: float) -> tuple[Phase, Failure | None]:
        """Execute an attempt, and give back what it had of the machine; `limit` is in seconds, 0 for none."""
        try:
            return await self._execute(action, attempt, limit)
        finally:
            self._beginnings.end(action.key, attempt.number)
            self._admission.leave(action.key)
            self._pools.leave(action.key)

    async def _execute(self, action: Action, attempt: Attempt, limit: float) -> tuple[Phase, Failure | None]:
        """One container from start to verdict; `limit` is in seconds, 0 for none."""
        key = action.key
        survivor = self.survivors.pop((key, attempt.number), None)
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
            exit_ = await asyncio.wait_for(self._end(started, action), self._limits.left(limit, key, attempt.started))
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
            self._chores.later(self._executor.remove(started))
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
            await asyncio.wait_for(entering, self._limits.left(limit, key, attempt.created))
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
        if failure and document is None and self._store.was_full(attempt.created):
            failure = replace(failure, message=f"{failure.message}\nThe disk that objects are kept on was full")
        if exit_.code and failure is None:
            log.warning("action %s ended with exit code %d after its outputs", action.key.name, exit_.code)
        return (Phase.FAILED if failure else Phase.SUCCEEDED), failure

    async def _start(self, wanted: Order, key: ActionKey, attempt: Attempt) -> Started:
        """Start a container; when the action is aborted meanwhile, nothing is left of it, without a wait for that."""

        def note(**facts: object) -> None:
            with contextlib.suppress(FinishedError):
                self._ledger.advance(key, Phase.INITIALIZING, **facts)

        def tell(words: str) -> None:
            # What is waited for is the image; there is nothing to tell any more when it is there.
            note(waiting_for=words, **({} if words else {"pulled": now()}))

        path = self._logs.path(key, attempt.number)
        turn = self._beginnings.turn(key, attempt.number, lambda: note(begun=now()))
        starting = asyncio.ensure_future(self._executor.start(wanted, path, turn, tell))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            self._chores.later(self._discard(starting))
            raise

    async def _discard(self, starting: asyncio.Future[Started]) -> None:
        starting.cancel()
        await asyncio.wait([starting])
        if not starting.cancelled() and starting.exception() is None:
            await self._executor.remove(starting.result())


def _share(needs: Demand, reuse: Reuse | None) -> Amounts:
    return needs.counted.share(reuse.concurrency or 1) if reuse else needs.counted
