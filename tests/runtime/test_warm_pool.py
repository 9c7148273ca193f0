"""Which warm container takes an action, and when there is another one; no containers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from flytebuild.runtime.reuse import Reuse
from flytebuild.runtime.verdict import Exit
from flytebuild.runtime.warm.pool import Pool


@dataclass
class Container:
    """As much of a worker as a pool sees."""

    idle: float
    over: asyncio.Future[Exit] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Scene:
    """A pool whose containers start at once, or fail with what `fails` says."""

    def __init__(self, reuse: Reuse) -> None:
        self.pool = Pool(reuse, self.launch)
        self.started: list[Container] = []
        self.fails: Exception | None = None

    def launch(self, idle: float) -> asyncio.Task[Any]:
        async def start() -> Container:
            if self.fails:
                raise self.fails
            self.started.append(Container(idle))
            return self.started[-1]

        return asyncio.get_running_loop().create_task(start())

    async def take(self) -> Any:
        berth = self.pool.take()
        await asyncio.wait([berth.launching])
        return berth


def test_a_container_is_filled_before_there_is_another() -> None:
    async def act() -> None:
        scene = Scene(Reuse(concurrency=2))
        first, second, third = [await scene.take() for _ in range(3)]
        assert first is second
        assert third is not first
        scene.pool.leave(first)
        scene.pool.leave(third)
        # Of two that have room, the fuller one: the other may become idle.
        assert await scene.take() is first

    asyncio.run(act())


def test_any_number_shares_a_container_that_nothing_limits() -> None:
    async def act() -> None:
        scene = Scene(Reuse(concurrency=None))
        assert len({id(await scene.take()) for _ in range(100)}) == 1

    asyncio.run(act())


def test_the_least_wait_longer_than_those_beyond() -> None:
    async def act() -> None:
        scene = Scene(Reuse(least=2, most=3, idle=90, scaledown=40))
        for _ in range(3):
            await scene.take()
        assert [container.idle for container in scene.started] == [90, 90, 40]

    asyncio.run(act())


def test_one_that_has_ended_or_never_started_takes_nothing() -> None:
    async def act() -> None:
        scene = Scene(Reuse(concurrency=None))
        await scene.take()
        assert not scene.pool.is_empty
        scene.started[0].over.set_result(Exit(0))
        await asyncio.sleep(0)
        assert scene.pool.is_empty
        await scene.take()
        assert len(scene.started) == 2
        scene.started[1].over.set_result(Exit(0))
        scene.fails = OSError("no room")
        await asyncio.sleep(0)
        berth = await scene.take()
        assert isinstance(berth.launching.exception(), OSError)
        scene.fails = None
        assert await scene.take() is not berth

    asyncio.run(act())
