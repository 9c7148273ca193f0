from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from flyteidl2.core.tasks_pb2 import Container, Resources

from flytebuild.runtime.admission import DEFAULT_MEMORY, Admission, Amounts, Capacity, Pools, demand, excess
from flytebuild.runtime.model import ActionKey
from flytebuild.runtime.reuse import Reuse

ONE = Amounts(cpu=1000)


class Gate:
    """A machine of some CPUs; `order` tells who was admitted, `told` what the others were told."""

    def __init__(self, cpus: int) -> None:
        self.waiting: set[ActionKey] = set()
        self.admission = Admission(Capacity(cpu=cpus * 1000), self.waiting.__contains__)
        self.order: list[str] = []
        self.told: dict[str, str] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def ask(self, name: str, amounts: Amounts = ONE, most: int | None = None) -> None:
        """Ask for admission as `run/action`, and see what comes of it."""
        self.tasks[name] = asyncio.create_task(self._enter(name, amounts, most))
        await self.settle()

    async def _enter(self, name: str, amounts: Amounts, most: int | None) -> None:
        await self.admission.enter(key(name), amounts, lambda words: self.told.update({name: words}), most)
        self.order.append(name)

    async def leave(self, name: str) -> None:
        self.admission.leave(key(name))
        await self.settle()

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


def key(name: str) -> ActionKey:
    run, action = name.split("/")
    return ActionKey(run, action)


def play(cpus: int, act: Callable[[Gate], Awaitable[None]]) -> None:
    async def main() -> None:
        gate = Gate(cpus)
        await act(gate)
        for task in gate.tasks.values():
            task.cancel()

    asyncio.run(main())


def test_the_sum_stays_within_the_machine() -> None:
    async def act(gate: Gate) -> None:
        for name in ("r/a", "r/b", "r/c"):
            await gate.ask(name)
        assert gate.order == ["r/a", "r/b"]
        assert gate.told == {"r/c": "waiting for 1 CPU (0 CPUs free)"}
        await gate.leave("r/a")
        assert gate.order[-1] == "r/c"

    play(2, act)


def test_five_nested_levels_on_one_slot() -> None:
    async def act(gate: Gate) -> None:
        for level in range(5):
            await gate.ask(f"r/{level}")
            assert gate.order[-1] == f"r/{level}"
            gate.waiting.add(key(f"r/{level}"))
        gate.waiting.clear()
        await gate.ask("r/late")
        for level in reversed(range(5)):
            assert gate.order[-1] == "r/4"
            await gate.leave(f"r/{level}")
        assert gate.order[-1] == "r/late"

    play(1, act)


def test_runs_take_turns() -> None:
    async def act(gate: Gate) -> None:
        for name in ("big/0", "big/1", "big/2", "small/0", "other/0"):
            await gate.ask(name)
        for name in ("big/0", "big/1", "small/0", "other/0"):
            await gate.leave(name)
        assert gate.order == ["big/0", "big/1", "small/0", "other/0", "big/2"]

    play(1, act)


def test_a_large_one_does_not_wait_for_ever_behind_small_ones() -> None:
    async def act(gate: Gate) -> None:
        await gate.ask("r/a")
        await gate.ask("large/a", Amounts(cpu=2000))
        await gate.ask("r/b")
        assert gate.order == ["r/a"]
        await gate.leave("r/a")
        assert gate.order == ["r/a", "large/a"]

    play(2, act)


def test_who_gives_up_holds_nothing() -> None:
    async def act(gate: Gate) -> None:
        for name in ("r/a", "r/b", "r/c"):
            await gate.ask(name)
        gate.tasks["r/b"].cancel()
        gate.admission.leave(key("r/a"))
        await gate.settle()
        assert gate.order == ["r/a", "r/c"]

    play(1, act)


def test_what_counts() -> None:
    entry = Resources.ResourceEntry
    both = Resources(
        requests=[entry(name=1, value="500m"), entry(name=3, value="1Gi")], limits=[entry(name=1, value="2")]
    )
    assert demand(Container(resources=both)).counted == Amounts(500, 1 << 30, 0)
    limits = Resources(limits=[entry(name=1, value="2"), entry(name=2, value="1")])
    assert demand(Container(resources=limits)).asked == Amounts(2000, 0, 1)
    assert demand(Container()).counted == Amounts(0, DEFAULT_MEMORY, 0)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Amounts(64000, 1 << 20), "64 CPUs, where this machine has 2 CPUs"),
        (Amounts(0, 64 << 30), "65,536 MiB of memory, where this machine has 8,192 MiB of memory"),
        (Amounts(2000, 8 << 30, 9), ""),
    ],
)
def test_larger_than_the_machine(asked: Amounts, words: str) -> None:
    assert excess(asked, Capacity(cpu=2000, memory=8 << 30)) == words


def test_places_in_a_pool_without_those_who_wait() -> None:
    async def act() -> None:
        waiting: set[ActionKey] = set()
        pools = Pools(waiting.__contains__)
        told: list[str] = []
        reuse = Reuse("env", most=2, concurrency=1)
        await pools.enter(key("r/a"), reuse, told.append)
        await pools.enter(key("r/b"), reuse, told.append)
        third = asyncio.ensure_future(pools.enter(key("r/c"), reuse, told.append))
        # Another pool has places of its own, and one without a number is never full.
        await pools.enter(key("r/d"), Reuse("other", most=2, concurrency=1), told.append)
        await pools.enter(key("r/e"), Reuse("env"), told.append)
        await asyncio.sleep(0)
        assert told == ["waiting for 1 place (0 places free) in its pool"]
        waiting.add(key("r/a"))
        pools.reconsider()
        await third
        pools.leave(key("r/b"))
        await pools.enter(key("r/f"), reuse, told.append)

    asyncio.run(asyncio.wait_for(act(), 20))


def test_actions_that_share_a_container_count_it_once() -> None:
    assert Amounts(2000, 1 << 30).share(4) == Amounts(500, 1 << 28)


def test_a_run_s_own_limit_counts_its_waiting_parents_and_holds_up_nobody_else() -> None:
    async def act(gate: Gate) -> None:
        for name in ("r/a0", "r/a", "r/b"):
            await gate.ask(name, most=2)
        await gate.ask("s/a0")
        assert gate.order == ["r/a0", "r/a", "s/a0"]
        assert gate.told["r/b"] == "waiting for others of its run, which has at most 2 at the same time"
        gate.waiting.add(key("r/a0"))
        gate.admission.reconsider()
        await gate.settle()
        assert "r/b" not in gate.order, "a parent keeps its place"
        await gate.leave("r/a")
        assert gate.order[-1] == "r/b"

    play(8, act)


def test_a_run_whose_places_are_all_taken_by_waiting_parents_goes_on() -> None:
    async def act(gate: Gate) -> None:
        for name in ("r/a0", "r/a", "r/b"):
            gate.waiting.add(key(name))
            await gate.ask(name, most=2)
        await gate.ask("r/c", most=2)
        assert gate.order == ["r/a0", "r/a", "r/b", "r/c"]

    play(8, act)
