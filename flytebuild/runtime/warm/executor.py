"""The executor that gives an action a place in a warm container where it may share one, else a cold one of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from flytebuild.runtime.addresses import LABEL
from flytebuild.runtime.chores import Chores
from flytebuild.runtime.container import Order
from flytebuild.runtime.docker_executor import DockerExecutor
from flytebuild.runtime.executor import Executor, Started, StartError, Survivor, Tell, tell_nobody
from flytebuild.runtime.verdict import Exit
from flytebuild.runtime.warm.kind import Kind, kind, warm_order
from flytebuild.runtime.warm.pool import Berth, Pool
from flytebuild.runtime.warm.stock import Stock
from flytebuild.runtime.warm.worker import GoneError, RefusedError, Worker

log = logging.getLogger(__name__)

Result = TypeVar("Result")

_TRIES = 3
"""A worker may end for having been idle at the very moment that it gets an action; the next one is new."""

_REST_SECONDS = 0.5
"""How long a run has ended before containers are started for the next one."""

_CLOSING_SECONDS = 0.2
"""How often it is looked at the end whether a container has come that was being started."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an action is; `pool` and `berth` are None in a container of an earlier control plane."""

    worker: Worker
    pool: Pool | None = None
    berth: Berth | None = None


@dataclass(frozen=True, slots=True)
class Shelf:
    """The containers of a kind, and what starts one more, which ends after so many idle seconds."""

    kind: Kind
    pool: Pool
    launch: Callable[[float], asyncio.Task[Worker]]


class WarmExecutor:
    """Warm containers on an engine, `starts` at a time; `alone` starts containers for attempts that share none."""

    def __init__(self, cold: DockerExecutor, alone: Executor, *, starts: int) -> None:
        self._cold = cold
        self._alone = alone
        self._starts = asyncio.Semaphore(starts)
        self._shelves: list[Shelf] = []
        self._stock = Stock()
        self._roots: dict[Started, str] = {}
        self._places: dict[str, Place] = {}
        self._earlier: dict[str, Worker] = {}
        self._unclaimed: set[str] = set()
        self._chores = Chores()
        self._is_closing = False

    # Executor

    async def start(
        self,
        order: Order,
        log_file: Path,
        turn: AbstractAsyncContextManager[object] = contextlib.nullcontext(),  # noqa: B008 - without a state
        tell: Tell = tell_nobody,
    ) -> Started:
        """Begin an attempt in a warm container that is there or is started; in a cold one where it cannot be."""
        started = await self._start(order, log_file, turn, tell)
        if not order.caller:
            self._roots[started] = order.labels[f"{LABEL}.run"]
        return started

    async def wait(self, started: Started) -> Exit:
        """Wait for the end of an attempt that this executor started or took over."""
        if not started.part:
            return await self._alone.wait(started)
        return await self._places[started.part].worker.wait(started.part)

    async def fetch(self, started: Started, path: str) -> Iterator[bytes]:
        """An archive of a folder of a cold container that has ended. Raises FileNotFoundError, OSError."""
        return await self._alone.fetch(started, path)

    async def remove(self, started: Started) -> None:
        """Have nothing left of an attempt, at the cost of its container where it does not go otherwise."""
        await self._remove(started)
        if run := self._roots.pop(started, None):
            # Whoever waits for the run comes first.
            self._chores.later(self._renew(run))

    async def _remove(self, started: Started) -> None:
        if not started.part:
            await self._alone.remove(started)
            return
        place = self._places.pop(started.part, None)
        if place is None:
            if started.part in self._unclaimed:
                await self._cold.containers.remove(started.container)
            return
        if not await place.worker.end(started.part):
            log.warning("container %s is removed: an action in it does not end", started.container)
            await self._cold.containers.remove(started.container)
        if place.pool and place.berth:
            place.pool.leave(place.berth)

    async def aclose(self) -> None:
        """Remove all warm containers, those that are being started included."""
        self._is_closing = True
        while self._chores.pending:
            await self._remove_all()
            await self._chores.settle(_CLOSING_SECONDS)
        await self._remove_all()

    async def _remove_all(self) -> None:
        with contextlib.suppress(StartError):
            listed = await self._cold.containers.listed()
            await self._cold.containers.remove_all(str(item["Id"]) for item in listed if _is_worker(item))

    # Survivors

    async def found(self) -> tuple[Survivor, ...]:
        """What an earlier control plane left: cold containers, and the actions that began in warm ones."""
        listed = await self._cold.containers.listed()
        warm = {str(item["Id"]): str(item["ImageID"]) for item in listed if _is_worker(item)}
        survivors = [item for item in await self._cold.found() if item.started.container not in warm]
        for container, image_id in warm.items():
            started = Started(container, image_id)
            self._earlier[container] = self._cold.worker(started)
            for name, is_under_way in (await self._cold.requests.ask(self._earlier[container].history)).items():
                run, action, attempt = name.split("/")
                survivors.append(Survivor(replace(started, part=name), run, action, int(attempt), has_run=True))
                if is_under_way:
                    self._unclaimed.add(name)
        # After whoever asked has taken, in the same step, what it wants.
        asyncio.get_running_loop().call_soon(self._take_over)
        return tuple(survivors)

    def attach(self, started: Started, log_file: Path) -> None:
        """Watch an attempt that runs, or has ended."""
        if not started.part:
            self._cold.attach(started, log_file)
            return
        worker = self._earlier[started.container]
        worker.adopt(started.part, log_file)
        self._places[started.part] = Place(worker)
        self._unclaimed.discard(started.part)

    def _take_over(self) -> None:
        """Follow the earlier containers in which something goes on; of the others nothing is wanted."""
        wanted = {place.worker.started.container for place in self._places.values()}
        for container, worker in self._earlier.items():
            if container in wanted:
                self._follow(worker)
            else:
                self._chores.later(self._cold.containers.remove(container))
        self._earlier.clear()

    # Steps

    async def _start(
        self, order: Order, log_file: Path, turn: AbstractAsyncContextManager[object], tell: Tell
    ) -> Started:
        wanted = kind(order)
        if wanted is None or self._stock.is_refused(wanted):
            return await self._alone.start(order, log_file, turn, tell)
        pool = self._pool(wanted, order, await self._cold.present(order.image, tell))
        try:
            return await self._begin(pool, order, log_file, turn)
        except RefusedError as error:
            self._stock.refuse(wanted)
            log.warning("image `%s` gets no warm containers: %s", order.image, error)
        return await self._alone.start(order, log_file, turn, tell)

    def _pool(self, wanted: Kind, order: Order, image: str) -> Pool:
        for shelf in self._shelves:
            if shelf.kind == wanted:
                return shelf.pool

        def launch(idle: float) -> asyncio.Task[Worker]:
            return self._chores.later(self._launch(warm_order(order, wanted, idle), image))

        pool = Pool(wanted.reuse, lambda idle: self._stock.take(wanted) or launch(idle))
        # Those whose containers have ended are not kept: their kinds hold secrets.
        self._shelves = [shelf for shelf in self._shelves if not shelf.pool.is_empty]
        self._shelves.append(Shelf(wanted, pool, launch))
        return pool

    async def _renew(self, run: str) -> None:
        """Let go of the containers of a run that has ended, and have others wait for the next run."""
        await asyncio.sleep(_REST_SECONDS)
        for shelf in [item for item in self._shelves if item.kind.reuse.run == run]:
            self._shelves.remove(shelf)
            shelf.pool.retire()
            # A policy says itself what is kept.
            if not (self._is_closing or shelf.kind.reuse.pool or self._stock.has(shelf.kind)):
                self._stock.put(shelf.kind, shelf.launch(shelf.kind.reuse.idle))

    async def _begin(
        self, pool: Pool, order: Order, log_file: Path, turn: AbstractAsyncContextManager[object]
    ) -> Started:
        """Begin an action in a container of its pool. Raises StartError and RefusedError."""
        name = "/".join(order.labels[f"{LABEL}.{part}"] for part in ("run", "action", "attempt"))
        for number in range(1, _TRIES + 1):
            berth = pool.take()
            try:
                worker = await asyncio.shield(berth.launching)
                async with turn:
                    await worker.begin(name, order, log_file)
            except GoneError as error:
                pool.forget(berth)
                if number == _TRIES:
                    raise StartError(
                        "ContainerNotStarted", f"Its worker ended before it could begin: {error}"
                    ) from error
            except BaseException:
                pool.leave(berth)
                raise
            else:
                self._places[name] = Place(worker, pool, berth)
                return replace(worker.started, part=name)
        raise AssertionError("the last try returns or raises")

    async def _launch(self, order: Order, image: str) -> Worker:
        """A container whose worker is ready. Raises StartError, RefusedError and GoneError, and leaves none then."""
        async with self._starts:
            started = await self._cold.containers.create(order, image)
            feed = await self._cold.containers.open(started)
            await self._cold.containers.begin(started, {})
            worker = self._cold.worker(started, feed)
            self._follow(worker)
            await worker.send(files=dict(order.secret_files))
            await asyncio.shield(worker.ready)
            return worker

    def _follow(self, worker: Worker) -> None:
        worker.follow()
        removal = partial(self._cold.containers.remove, worker.started.container)
        worker.over.add_done_callback(lambda _: self._chores.later(removal()))


def _is_worker(item: Mapping[str, Any]) -> bool:
    return f"{LABEL}.worker" in (item.get("Labels") or {})
