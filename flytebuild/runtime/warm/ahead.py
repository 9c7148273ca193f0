"""Containers that are started ahead of the attempts that they are for, while their parent's is on its way.

Which tasks a task calls is known from the last time: containers for them start, and import Flyte's SDK, before they are
asked for. Each becomes one attempt, as a cold container does, and is that attempt's alone. What was not called when the
parent ends is removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from flytebuild.runtime.chores import Chores
from flytebuild.runtime.container import Order
from flytebuild.runtime.docker_executor import DockerExecutor
from flytebuild.runtime.executor import Started, StartError, Tell, tell_nobody
from flytebuild.runtime.reuse import Reuse
from flytebuild.runtime.secret_files import Feed
from flytebuild.runtime.verdict import Exit
from flytebuild.runtime.warm.calls import Calls
from flytebuild.runtime.warm.kind import Kind, ahead_order, kind

_AT_ONCE = 4
"""So many containers wait for attempts at the same time."""

_NOBODY_ELSE = Reuse("ahead")


@dataclass(frozen=True, slots=True, eq=False)
class Spare:
    """A container that waits, or is about to; it is there for as long as its `owner` runs, a container as well."""

    kind: Kind
    owner: str
    launching: asyncio.Task[tuple[Started, Feed]]


class AheadExecutor:
    """Containers that were started ahead, in front of cold ones on the same engine."""

    def __init__(self, cold: DockerExecutor) -> None:
        self._cold = cold
        # What may not be needed at all stands in nobody's way.
        self._start = asyncio.Semaphore(1)
        self._spares: list[Spare] = []
        self.calls = Calls()
        self._chores = Chores()

    async def start(
        self,
        order: Order,
        log_file: Path,
        turn: AbstractAsyncContextManager[object] = contextlib.nullcontext(),  # noqa: B008 - without a state
        tell: Tell = tell_nobody,
    ) -> Started:
        """Let a container that waits become the attempt, or start one; then those that it may call for."""
        wanted = kind(replace(order, reuse=_NOBODY_ELSE))
        started = await self._become(wanted, order, log_file, turn) if wanted else None
        if started is None:
            started = await self._cold.start(order, log_file, turn, tell)
        if wanted:
            self.calls.note(order)
            self._prepare(order, started.container)
        return started

    async def wait(self, started: Started) -> Exit:
        """Wait for the end of a container that this executor started."""
        return await self._cold.wait(started)

    async def fetch(self, started: Started, path: str) -> Iterator[bytes]:
        """An archive of a folder of a container that has ended. Raises FileNotFoundError, OSError."""
        return await self._cold.fetch(started, path)

    async def remove(self, started: Started) -> None:
        """Kill and remove a container, and those that waited for what it would call."""
        for spare in [item for item in self._spares if item.owner == started.container]:
            self._spares.remove(spare)
            self._chores.later(self._discard(spare))
        await self._cold.remove(started)

    async def aclose(self) -> None:
        """Remove all that wait."""
        for spare in self._spares:
            self._chores.later(self._discard(spare))
        self._spares.clear()
        while self._chores.pending:
            await self._chores.settle()

    def _prepare(self, caller: Order, owner: str) -> None:
        for order in self.calls.of(caller):
            wanted = kind(replace(order, reuse=_NOBODY_ELSE))
            if wanted and len(self._spares) < _AT_ONCE:
                launching = self._chores.later(self._launch(ahead_order(order, wanted)))
                self._spares.append(Spare(wanted, owner, launching))

    async def _launch(self, order: Order) -> tuple[Started, Feed]:
        """A container that waits for its attempt. Raises StartError, and leaves none then."""
        containers = self._cold.containers
        image = await self._cold.present(order.image)
        async with self._start:
            started = await containers.create(order, image)
            feed = await containers.open(started)
            await containers.begin(started, {})
            return started, feed

    async def _become(
        self, wanted: Kind, order: Order, log_file: Path, turn: AbstractAsyncContextManager[object]
    ) -> Started | None:
        """The attempt in a container that waited for it; None where there is none, or where it did not come to be."""
        spare = next((item for item in self._spares if item.kind == wanted), None)
        if spare is None:
            return None
        self._spares.remove(spare)
        try:
            started, feed = await asyncio.shield(spare.launching)
            own = {name: value for name, value in order.environment.items() if name in order.own}
            command = {"files": dict(order.secret_files), "arguments": order.arguments[1:], "environment": own}
            if await self._cold.containers.is_running(started.container):
                async with turn:
                    await self._cold.requests.ask(partial(feed.send, json.dumps(command).encode() + b"\n"))
                feed.close()
                self._cold.attach(started, log_file)
                return started
        except (StartError, OSError):
            pass
        except BaseException:
            self._chores.later(self._discard(spare))
            raise
        self._chores.later(self._discard(spare))
        return None

    async def _discard(self, spare: Spare) -> None:
        with contextlib.suppress(StartError):
            started, feed = await spare.launching
            feed.close()
            await self._cold.containers.remove(started.container)
