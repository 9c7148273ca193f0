"""The one state machine of runs, actions and attempts, and the way to watch it.

A `Journal` sees every change, and is where durability goes. Where there is an `Archive`, a run of which nothing is
under way keeps only its root in memory; the rest is read again when somebody asks. All methods belong to the event
loop's thread. A watcher is told of the latest value of what changed, not of every step in between: a slow one costs no
memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from flytebuild.runtime.model import ROOT, Action, ActionKey, Attempt, Failure, Phase, Run, Transition, now

_WHOLE_RUNS = 16
"""So many runs that have ended are held in memory with all their actions, those asked for last."""


class UnknownError(LookupError):
    """Raised for a run or an action that does not exist."""


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


class Archive(Protocol):
    """What the journal of an earlier time, or of this one, holds."""

    def load(self, run: str) -> tuple[Action, ...]:
        """All actions of a run in the order of their creation."""


@dataclass(slots=True)
class _Record:
    """A run and its actions; `revisions` is ordered by each action's last change, and `bell` rings at the next.

    `live` counts the actions under way by their parents, and `is_whole` tells whether all actions are in memory.
    """

    run: Run
    actions: dict[str, Action] = field(default_factory=dict)
    children: dict[str, list[str]] = field(default_factory=dict)
    revisions: dict[str, int] = field(default_factory=dict)
    revision: int = 0
    bell: asyncio.Event = field(default_factory=asyncio.Event)
    live: dict[str | None, int] = field(default_factory=dict)
    is_whole: bool = True

    @property
    def is_over(self) -> bool:
        """Whether no action is under way."""
        return not any(self.live.values())

    def put(self, action: Action) -> None:
        """Hold an action's newest state."""
        old = self.actions.get(action.key.name)
        if old is None and action.parent is not None:
            self.children.setdefault(action.parent, []).append(action.key.name)
        was_live = old is not None and not old.phase.is_terminal
        change = int(not action.phase.is_terminal) - int(was_live)
        self.live[action.parent] = self.live.get(action.parent, 0) + change
        self.actions[action.key.name] = action
        self.revision += 1
        self.revisions.pop(action.key.name, None)
        self.revisions[action.key.name] = self.revision


class Ledger:
    """All runs, in the order of their creation."""

    def __init__(
        self,
        journal: Journal | None = None,
        clock: Callable[[], datetime] = now,
        archive: Archive | None = None,
    ) -> None:
        self._records: dict[str, _Record] = {}
        self._journal = journal or Forgetful()
        self._archive = archive
        self._whole: dict[str, None] = {}
        self._listeners: list[Callable[[Action], None]] = []
        self._clock = clock
        self._is_sealed = False
        self._is_closed = False

    def restore(self, runs: Iterable[tuple[Run, Action, bool]]) -> None:
        """Take over what an archive knows: runs in the order of creation, their roots, and whether all has ended."""
        for run, root, is_over in runs:
            record = self._records[run.name] = _Record(run, is_whole=False)
            record.put(root)
            if not is_over:
                self._complete(record)

    def listen(self, listener: Callable[[Action], None]) -> None:
        """Call `listener` after every change, with the action that has changed."""
        self._listeners.append(listener)

    # Reading

    def runs(self) -> Iterator[Run]:
        """All runs, the newest first."""
        return (record.run for record in reversed(list(self._records.values())))

    def run(self, name: str) -> Run:
        """A run by its name."""
        return self._record(name).run

    def has_run(self, name: str) -> bool:
        """Whether there is a run of that name."""
        return name in self._records

    def action(self, key: ActionKey) -> Action:
        """An action as it is now."""
        record = self._record(key.run)
        if key.name != ROOT:
            self._complete(record)
        try:
            return record.actions[key.name]
        except KeyError:
            raise UnknownError(f"run `{key.run}` has no action `{key.name}`") from None

    def root(self, run: str) -> Action:
        """A run's first action; its phase is the run's."""
        return self.action(ActionKey(run, ROOT))

    def actions(self, run: str) -> tuple[Action, ...]:
        """A run's actions in the order of their creation."""
        return tuple(self._complete(self._record(run)).actions.values())

    def children(self, key: ActionKey) -> tuple[Action, ...]:
        """The actions that an action enqueued."""
        record = self._complete(self._record(key.run))
        return tuple(record.actions[name] for name in record.children.get(key.name, ()))

    def has_live_children(self, key: ActionKey) -> bool:
        """Whether an action waits for others that it enqueued."""
        return self._record(key.run).live.get(key.name, 0) > 0

    def unfinished(self) -> tuple[Action, ...]:
        """All actions that are under way, parents before their children."""
        return tuple(
            action
            for record in self._records.values()
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
        self._records[run.name] = _Record(run)
        self._journal.record_run(run)
        self._store(root)

    def add(self, action: Action) -> bool:
        """Add a child action; False when it is known already, which a repeated request is entitled to."""
        record = self._complete(self._record(action.key.run))
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
            if name in self._records and self._records[name].is_over:
                del self._records[name]
                self._whole.pop(name, None)

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
        record = self._complete(self._record(run))
        seen = 0
        while not self._is_closed:
            bell = record.bell
            fresh = []
            for name in reversed(record.revisions):
                if record.revisions[name] <= seen:
                    break
                if is_wanted(record.actions[name]):
                    fresh.append(record.actions[name])
            if fresh or not seen:
                seen = record.revision
                yield tuple(reversed(fresh))
                continue
            seen = record.revision
            try:
                await asyncio.wait_for(bell.wait(), heartbeat)
            except asyncio.TimeoutError:
                yield ()

    def close(self) -> None:
        """End all watches."""
        self._is_closed = True
        for record in self._records.values():
            record.bell.set()

    def _record(self, run: str) -> _Record:
        try:
            return self._records[run]
        except KeyError:
            raise UnknownError(f"there is no run `{run}`") from None

    def _attempted(self, action: Action, phase: Phase, **facts: Any) -> Action:
        """The action with its newest attempt in `phase`."""
        last = action.attempts[-1]
        steps = last.transitions
        if last.phase is not phase:
            steps = (*steps, Transition(phase, self._clock()))
        return replace(action, attempts=(*action.attempts[:-1], replace(last, transitions=steps, **facts)))

    def _store(self, action: Action) -> None:
        record = self._records[action.key.run]
        record.put(action)
        bell, record.bell = record.bell, asyncio.Event()
        bell.set()
        self._journal.record_action(action)
        if action.phase.is_terminal and record.is_over:
            self._shrink(record)
        for listener in self._listeners:
            listener(action)

    def _complete(self, record: _Record) -> _Record:
        """A record with all of its actions."""
        if not record.is_whole and self._archive is not None:
            seen = record.revision
            root = record.actions[ROOT]
            record.actions, record.children, record.revisions, record.live = {}, {}, {}, {}
            record.revision = 0
            for action in self._archive.load(record.run.name) or (root,):
                record.put(action)
            # Nothing of it is news to whoever watches: it was all there before.
            record.revision = max(seen, record.revision)
            record.is_whole = True
        if record.is_over:
            self._shrink(record)
        return record

    def _shrink(self, latest: _Record) -> None:
        """Note that a run of the past was asked for, and let go of the actions of the one not asked for longest."""
        if self._archive is None:
            return
        self._whole.pop(latest.run.name, None)
        self._whole[latest.run.name] = None
        while len(self._whole) > _WHOLE_RUNS:
            record = self._records.get(next(iter(self._whole)))
            self._whole.pop(next(iter(self._whole)))
            if record is not None and record.is_over:
                record.actions, record.children = {ROOT: record.actions[ROOT]}, {}
                record.revisions = {ROOT: record.revision}
                record.is_whole = False
