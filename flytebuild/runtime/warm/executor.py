"""The executor that gives an action a place in a warm container where it may share one, else a cold one of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from flytebuild.runtime.container import LABEL, Order
from flytebuild.runtime.docker_executor import DockerExecutor
from flytebuild.runtime.executor import Executor, Started, StartError, Survivor, Tell, tell_nobody
from flytebuild.runtime.verdict import Exit
from flytebuild.runtime.warm.kind import Kind, kind, warm_order
from flytebuild.runtime.warm.pool import Berth, Pool
from flytebuild.runtime.warm.worker import GoneError, RefusedError, Worker

log = logging.getLogger(__name__)

Result = TypeVar("Result")

_TRIES = 3
"""A worker may end for having been idle at the very moment that it gets an action; the next one is new."""

_CLOSING_SECONDS = 0.2
"""How often it is looked at the end whether a container has come that was being started."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an action is; `pool` and `berth` are None in a container of an earlier control plane."""

    worker: Worker
    pool: Pool | None = None
    berth: Berth | None = None


class WarmExecutor:
    """Warm containers on an engine, `starts` at a time; `alone` starts containers for attempts that share none."""

    def __init__(self, cold: DockerExecutor, alone: Executor, *, starts: int) -> None:
        self._cold = cold
        self._alone = alone
        self._starts = asyncio.Semaphore(starts)
        self._pools: list[tuple[Kind, Pool]] = []
        self._places: dict[str, Place] = {}
        self._earlier: dict[str, Worker] = {}
        self._unclaimed: set[str] = set()
        self._chores: set[asyncio.Task[Any]] = set()

    # Executor

    async def start(
        self,
        order: Order,
        log_file: Path,
        turn: AbstractAsyncContextManager[object] = contextlib.nullcontext(),  # noqa: B008 - without a state
        tell: Tell = tell_nobody,
    ) -> Started:
        """Begin an attempt in a warm container that is there or is started; in a cold one where it cannot be."""
        wanted = kind(order)
        if wanted is None:
            return await self._alone.start(order, log_file, turn, tell)
        image = await self._cold.present(order.image, tell)
        pool = self._pool(wanted, order, image)
        try:
            if not pool.refusal:
                return await self._begin(pool, order, log_file, turn)
        except RefusedError as error:
            pool.refusal = str(error)
            log.warning("image `%s` gets no warm containers: %s", order.image, error)
        return await self._alone.start(order, log_file, turn, tell)

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
        while self._chores:
            await self._remove_all()
            await asyncio.wait(self._chores, timeout=_CLOSING_SECONDS)
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
                self._later(self._cold.containers.remove(container))
        self._earlier.clear()

    # Steps

    def _pool(self, wanted: Kind, order: Order, image: str) -> Pool:
        for known, pool in self._pools:
            if known == wanted:
                return pool
        pool = Pool(wanted.reuse, lambda idle: self._later(self._launch(warm_order(order, wanted, idle), image)))
        # Those whose containers have ended are not kept: their kinds hold secrets.
        self._pools = [(known, other) for known, other in self._pools if not other.is_empty]
        self._pools.append((wanted, pool))
        return pool

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
        worker.over.add_done_callback(lambda _: self._later(self._cold.containers.remove(worker.started.container)))

    def _later(self, chore: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Do something that nobody waits for, except for `aclose`."""
        task = asyncio.create_task(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)
        return task


def _is_worker(item: Mapping[str, Any]) -> bool:
    return f"{LABEL}.worker" in (item.get("Labels") or {})
