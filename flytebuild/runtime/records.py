"""Runs and their actions in memory. Of a run that has ended, all actions are there only while somebody asks for them.

Where there is an `Archive`, a run of which nothing is under way keeps its root, and is completed from that when it is
asked for more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from flytebuild.runtime.model import ROOT, Action, Run

_WHOLE_RUNS = 16
"""So many runs that have ended are held in memory with all their actions, those asked for last."""


class UnknownError(LookupError):
    """Raised for a run or an action that does not exist."""


class Archive(Protocol):
    """What the journal of an earlier time, or of this one, holds."""

    def load(self, run: str) -> tuple[Action, ...]:
        """All actions of a run in the order of their creation."""


@dataclass(slots=True)
class Record:
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

    def changed_since(self, revision: int, is_wanted: Callable[[Action], bool]) -> tuple[Action, ...]:
        """The wanted actions that have changed after a revision, in the order of their changes."""
        found = []
        for name in reversed(self.revisions):
            if self.revisions[name] <= revision:
                break
            if is_wanted(self.actions[name]):
                found.append(self.actions[name])
        return tuple(reversed(found))

    def ring(self) -> None:
        """Wake up whoever waits for a change."""
        bell, self.bell = self.bell, asyncio.Event()
        bell.set()

    def fill(self, actions: Iterable[Action]) -> None:
        """Hold all of its actions. Nothing of it is news to whoever watches: it was all there before."""
        seen = self.revision
        self.actions, self.children, self.revisions, self.live = {}, {}, {}, {}
        self.revision = 0
        for action in actions:
            self.put(action)
        self.revision = max(seen, self.revision)
        self.is_whole = True

    def shrink(self) -> None:
        """Hold the root alone."""
        self.actions, self.children = {ROOT: self.actions[ROOT]}, {}
        self.revisions = {ROOT: self.revision}
        self.is_whole = False


class Records:
    """All runs, in the order of their creation."""

    def __init__(self, archive: Archive | None = None) -> None:
        self._archive = archive
        self._records: dict[str, Record] = {}
        self._whole: dict[str, None] = {}

    def __iter__(self) -> Iterator[Record]:
        return iter(list(self._records.values()))

    def __contains__(self, run: str) -> bool:
        return run in self._records

    def add(self, record: Record) -> None:
        """Hold a run that is new here."""
        self._records[record.run.name] = record

    def of(self, run: str) -> Record:
        """A run by its name, with its root at least. Raises UnknownError."""
        try:
            return self._records[run]
        except KeyError:
            raise UnknownError(f"there is no run `{run}`") from None

    def whole(self, run: str) -> Record:
        """A run by its name, with all of its actions. Raises UnknownError."""
        record = self.of(run)
        if not record.is_whole and self._archive is not None:
            record.fill(self._archive.load(run) or (record.actions[ROOT],))
        if record.is_over:
            self.rest(record)
        return record

    def rest(self, latest: Record) -> None:
        """Note that a run that has ended was asked for, and let go of the actions of the one not asked for longest."""
        if self._archive is None:
            return
        self._whole.pop(latest.run.name, None)
        self._whole[latest.run.name] = None
        while len(self._whole) > _WHOLE_RUNS:
            oldest = next(iter(self._whole))
            del self._whole[oldest]
            if oldest in self._records and self._records[oldest].is_over:
                self._records[oldest].shrink()

    def forget(self, run: str) -> None:
        """Drop a run that has ended; one that has not, or is not there, changes nothing."""
        if run in self._records and self._records[run].is_over:
            del self._records[run]
            self._whole.pop(run, None)
