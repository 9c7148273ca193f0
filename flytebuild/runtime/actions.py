"""The one state machine of runs, actions and attempts, and the way to watch it.

A `Journal` sees every change, and is where durability goes. All methods belong to the event loop's thread. A watcher is
told of the latest value of what changed, not of every step in between: a slow one costs no memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from flytebuild.runtime.model import ROOT, Action, ActionKey, Attempt, Failure, Phase, Run, Transition, now
from flytebuild.runtime.records import Archive, Record, Records, UnknownError


class ExistsError(Exception):
    """Raised when a run's name is taken."""


class FinishedError(Exception):
    """Raised when an action is added below one that has ended, or an attempt to one that has ended itself."""


class SealedError(Exception):
    """Raised when something is added to a ledger that takes no more."""


class Journal(Protocol):
    """Where every change is recorded, in order."""

    def record_run(self, run: Run) -> None:
        """A run was created."""

    def record_action(self, action: Action) -> None:
        """An action was added or changed; this is its whole state."""


class Forgetful:
    """The journal that keeps nothing."""

    def record_run(self, run: Run) -> None:
        """Drop it."""

    def record_action(self, action: Action) -> None:
        """Drop it."""


class Ledger:
    """All runs, in the order of their creation."""

    def __init__(
        self,
        journal: Journal | None = None,
        clock: Callable[[], datetime] = now,
        archive: Archive | None = None,
    ) -> None:
        self._records = Records(archive)
        self._journal = journal or Forgetful()
        self._listeners: list[Callable[[Action], None]] = []
        self._clock = clock
        self._is_sealed = False
        self._is_closed = False

    def restore(self, runs: Iterable[tuple[Run, Action, bool]]) -> None:
        """Take over what an archive knows: runs in the order of creation, their roots, and whether all has ended."""
        for run, root, is_over in runs:
            record = Record(run, is_whole=False)
            record.put(root)
            self._records.add(record)
            if not is_over:
                self._records.whole(run.name)

    def listen(self, listener: Callable[[Action], None]) -> None:
        """Call `listener` after every change, with the action that has changed."""
        self._listeners.append(listener)

    # Reading

    def runs(self) -> Iterator[Run]:
        """All runs, the newest first."""
        return (record.run for record in reversed(list(self._records)))

    def run(self, name: str) -> Run:
        """A run by its name."""
        return self._records.of(name).run

    def has_run(self, name: str) -> bool:
        """Whether there is a run of that name."""
        return name in self._records

    def action(self, key: ActionKey) -> Action:
        """An action as it is now."""
        record = self._records.of(key.run) if key.name == ROOT else self._records.whole(key.run)
        try:
            return record.actions[key.name]
        except KeyError:
            raise UnknownError(f"run `{key.run}` has no action `{key.name}`") from None

    def root(self, run: str) -> Action:
        """A run's first action; its phase is the run's."""
        return self.action(ActionKey(run, ROOT))

    def actions(self, run: str) -> tuple[Action, ...]:
        """A run's actions in the order of their creation."""
        return tuple(self._records.whole(run).actions.values())

    def children(self, key: ActionKey) -> tuple[Action, ...]:
        """The actions that an action enqueued."""
        record = self._records.whole(key.run)
        return tuple(record.actions[name] for name in record.children.get(key.name, ()))

    def has_live_children(self, key: ActionKey) -> bool:
        """Whether an action waits for others that it enqueued."""
        return self._records.of(key.run).live.get(key.name, 0) > 0

    def unfinished(self) -> tuple[Action, ...]:
        """All actions that are under way, parents before their children."""
        return tuple(
            action
            for record in self._records
            if not record.is_over
            for action in record.actions.values()
            if not action.phase.is_terminal
        )

    # Changing

    def create_run(self, run: Run, root: Action) -> None:
        """Add a run together with its first action."""
        self._check_open()
        if run.name in self._records:
            raise ExistsError(f"there is a run `{run.name}` already")
        self._records.add(Record(run))
        self._journal.record_run(run)
        self._store(root)

    def add(self, action: Action) -> bool:
        """Add a child action; False when it is known already, which a repeated request is entitled to."""
        record = self._records.whole(action.key.run)
        if action.key.name in record.actions:
            return False
        self._check_open()
        parent = self.action(ActionKey(action.key.run, action.parent or ROOT))
        if parent.phase.is_terminal or self.root(action.key.run).phase.is_terminal:
            raise FinishedError(f"action `{parent.key.name}` of run `{action.key.run}` has ended")
        self._store(action if action.parent else replace(action, parent=parent.key.name))
        return True

    def begin_attempt(self, key: ActionKey, image: str) -> Attempt:
        """Queue the next attempt of an action and return it; FinishedError when the action has ended."""
        action = self.action(key)
        if action.phase.is_terminal:
            raise FinishedError(f"action `{key.name}` of run `{key.run}` has ended")
        number = len(action.attempts) + 1
        attempt = Attempt(number, action.attempt_outputs(number), (Transition(Phase.QUEUED, self._clock()),), image)
        self._store(replace(action, phase=Phase.QUEUED, attempts=(*action.attempts, attempt)))
        return attempt

    def advance(self, key: ActionKey, phase: Phase, **facts: Any) -> None:
        """Bring the newest attempt, and its action, into `phase`; `facts` are fields of `Attempt`.

        An action that has ended stays as it is, and FinishedError says so.
        """
        action = self.action(key)
        if action.phase.is_terminal:
            raise FinishedError(f"action `{key.name}` of run `{key.run}` has ended")
        self._store(replace(self._attempted(action, phase, **facts), phase=phase))

    def end_attempt(self, key: ActionKey, phase: Phase, failure: Failure) -> None:
        """Note that the newest attempt ended in `phase` and that another one follows."""
        action = self.action(key)
        if not action.phase.is_terminal:
            self._store(replace(self._attempted(action, phase, failure=failure), phase=Phase.QUEUED))

    def finish(
        self,
        key: ActionKey,
        phase: Phase,
        *,
        failure: Failure | None = None,
        reason: str | None = None,
        outputs: str = "",
        **facts: Any,
    ) -> bool:
        """End an action; False when it had ended before, for the first verdict stands.

        `facts` are other fields of `Action`.
        """
        action = self.action(key)
        if action.phase.is_terminal:
            return False
        if action.last and not action.last.phase.is_terminal:
            action = self._attempted(action, phase, failure=failure)
        ended = self._clock()
        self._store(
            replace(action, phase=phase, ended=ended, failure=failure, abort_reason=reason, outputs=outputs, **facts)
        )
        return True

    def note(self, key: ActionKey, **facts: Any) -> None:
        """Set fields of an action that is under way."""
        action = self.action(key)
        if not action.phase.is_terminal:
            self._store(replace(action, **facts))

    def forget(self, runs: Iterable[str]) -> None:
        """Drop runs that have ended; those that have not stay."""
        for name in runs:
            self._records.forget(name)

    def seal(self) -> None:
        """Take no more runs and no more actions; those that are there go on to their ends."""
        self._is_sealed = True

    def _check_open(self) -> None:
        if self._is_sealed:
            raise SealedError("the control plane is being stopped and takes no more work")

    # Watching

    async def watch(
        self, run: str, is_wanted: Callable[[Action], bool], heartbeat: float
    ) -> AsyncIterator[tuple[Action, ...]]:
        """Yield the wanted actions as they are, then those that change; an empty tuple after `heartbeat` seconds.

        The first value comes at once, also when it is empty. Ends when the ledger is closed.
        """
        record = self._records.whole(run)
        seen = 0
        while not self._is_closed:
            bell = record.bell
            fresh = record.changed_since(seen, is_wanted)
            if fresh or not seen:
                seen = record.revision
                yield fresh
                continue
            seen = record.revision
            try:
                await asyncio.wait_for(bell.wait(), heartbeat)
            except asyncio.TimeoutError:
                yield ()

    def close(self) -> None:
        """End all watches."""
        self._is_closed = True
        for record in self._records:
            record.bell.set()

    def _attempted(self, action: Action, phase: Phase, **facts: Any) -> Action:
        """The action with its newest attempt in `phase`."""
        last = action.attempts[-1]
        steps = last.transitions
        if last.phase is not phase:
            steps = (*steps, Transition(phase, self._clock()))
        return replace(action, attempts=(*action.attempts[:-1], replace(last, transitions=steps, **facts)))

    def _store(self, action: Action) -> None:
        record = self._records.of(action.key.run)
        record.put(action)
        record.ring()
        self._journal.record_action(action)
        if action.phase.is_terminal and record.is_over:
            self._records.rest(record)
        for listener in self._listeners:
            listener(action)
