"""What waits for the next run; no containers."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from flytebuild.runtime.container import Limits
from flytebuild.runtime.reuse import Reuse
from flytebuild.runtime.verdict import Exit
from flytebuild.runtime.warm.kind import Kind
from flytebuild.runtime.warm.stock import _MOST, _MOST_REFUSED, Stock

KIND = Kind("image:1", {"MODE": "fast"}, Limits(), {}, Reuse(run="r1"))
OF_NEXT_RUN = replace(KIND, reuse=Reuse(run="r2"))


@dataclass
class Container:
    """As much of a worker as a stock sees."""

    over: asyncio.Future[Exit] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    is_retired: bool = False

    def retire(self) -> None:
        self.is_retired = True


def started(fails: Exception | None = None) -> asyncio.Task[Any]:
    async def start() -> Container:
        if fails:
            raise fails
        return Container()

    return asyncio.get_running_loop().create_task(start())


def in_loop(act: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await act()

    asyncio.run(main())


def test_one_that_waits_is_for_any_run_and_for_one_alone() -> None:
    async def act() -> None:
        stock, launching = Stock(), started()
        stock.put(KIND, launching)
        assert stock.has(OF_NEXT_RUN)
        assert stock.take(replace(OF_NEXT_RUN, variables={"MODE": "slow"})) is None
        assert stock.take(OF_NEXT_RUN) is launching
        assert stock.take(OF_NEXT_RUN) is None
        await launching

    in_loop(act)


def test_one_that_has_ended_or_never_started_does_not_wait() -> None:
    async def act() -> None:
        stock = Stock()
        for launching in (started(), started(OSError("no room"))):
            stock.put(KIND, launching)
            await asyncio.wait([launching])
            if launching.exception() is None:
                launching.result().over.set_result(Exit(0))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not stock.has(KIND)

    in_loop(act)


def test_only_so_many_wait() -> None:
    async def act() -> None:
        stock = Stock()
        tasks = [started() for _ in range(_MOST + 1)]
        for number, launching in enumerate(tasks):
            stock.put(replace(KIND, image=f"image:{number}"), launching)
        await asyncio.wait(tasks)
        await asyncio.sleep(0)
        assert [task.result().is_retired for task in tasks] == [True, *[False] * _MOST]
        assert not stock.has(replace(KIND, image="image:0"))

    in_loop(act)


def test_what_cannot_be_is_known_to_all_runs() -> None:
    stock = Stock()
    assert not stock.is_refused(KIND)
    stock.refuse(KIND)
    assert stock.is_refused(OF_NEXT_RUN)
    for other in (
        {"image": "image:2"},
        {"variables": {}},
        {"secret_files": {"KEY": "x"}},
        {"limits": Limits(memory=1)},
    ):
        assert not stock.is_refused(replace(KIND, **other))


def test_of_what_cannot_be_no_secrets_are_kept_and_only_so_many() -> None:
    stock = Stock()
    for number in range(_MOST_REFUSED + 1):
        stock.refuse(replace(KIND, variables={"TOKEN": f"sec\udc80ret-{number}"}, secret_files={"KEY": "secret-text"}))
        # Once more changes nothing.
        stock.refuse(KIND)
    assert len(stock._refused) == _MOST_REFUSED
    assert b"secret" not in pickle.dumps(stock._refused)
