"""The cache of results: which outputs a task with a cache key has had before.

A key covers the task, its version and its inputs; the SDK makes it. Results are of one project and domain. An entry
whose outputs are gone is no entry.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Protocol

from flytebuild.runtime.journal import Result
from flytebuild.runtime.model import Action, Run, now
from flytebuild.runtime.storage import ObjectNameError
from flytebuild.runtime.stores import Store
from flytebuild.runtime.verdict import seconds


class Table(Protocol):
    """Where results are remembered."""

    def result(self, scope: str, key: str) -> Result | None:
        """What is cached under a key."""

    def keep_result(self, scope: str, key: str, result: Result) -> None:
        """Cache a result in place of an earlier one."""

    def forget_result(self, scope: str, key: str) -> None:
        """Drop a result."""


class Results:
    """Looks results up, keeps them, and lets one action at a time work on a key where its task wants that."""

    def __init__(self, table: Table, store: Store, clock: Callable[[], datetime] = now) -> None:
        self._table = table
        self._store = store
        self._clock = clock
        self._flights: dict[tuple[str, str], tuple[asyncio.Lock, list[None]]] = {}

    async def find(self, run: Run, action: Action) -> Result | None:
        """The result of an action that need not be executed; None when it must be."""
        if not action.cache_key or is_overwriting(run) or action.task is None:
            return None
        scope = _scope(run)
        found = self._table.result(scope, action.cache_key)
        if found is None:
            return None
        age = seconds(action.task.task_template.metadata.cache_max_age)
        if age and self._clock().timestamp() - found.created > age:
            return None
        try:
            is_there = await self._store.size(f"{found.outputs}/outputs.pb") is not None
        except ObjectNameError:
            # Written to a bucket that is another one's: it is there as far as can be known from here.
            is_there = True
        if not is_there:
            self._table.forget_result(scope, action.cache_key)
            return None
        return found

    def keep(self, run: Run, action: Action, outputs: str) -> None:
        """Remember the outputs of an action that has succeeded."""
        result = Result(outputs, run.folder, run.name, action.key.name, self._clock().timestamp())
        self._table.keep_result(_scope(run), action.cache_key, result)

    @contextlib.asynccontextmanager
    async def flight(self, run: Run, action: Action) -> AsyncIterator[None]:
        """Inside the block no other action works on the same key, when the action's task asks for that."""
        if not action.cache_key or action.task is None or not action.task.task_template.metadata.cache_serializable:
            yield
            return
        key = (_scope(run), action.cache_key)
        lock, users = self._flights.setdefault(key, (asyncio.Lock(), []))
        users.append(None)
        try:
            async with lock:
                yield
        finally:
            users.pop()
            if not users:
                del self._flights[key]


class NoTable:
    """The table that remembers nothing."""

    def result(self, scope: str, key: str) -> Result | None:
        """There is none."""

    def keep_result(self, scope: str, key: str, result: Result) -> None:
        """Drop it."""

    def forget_result(self, scope: str, key: str) -> None:
        """There is nothing to drop."""


def is_overwriting(run: Run) -> bool:
    """Whether a run wants its tasks executed in any case."""
    return bool(run.spec.overwrite_cache or run.spec.cache_config.overwrite_cache)


def _scope(run: Run) -> str:
    return f"{run.project}/{run.domain}"
