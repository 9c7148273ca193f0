from __future__ import annotations

import asyncio

import pytest

from flytebuild.runtime import beginnings
from flytebuild.runtime.beginnings import Beginnings
from flytebuild.runtime.model import ActionKey


def key(name: str) -> ActionKey:
    return ActionKey("r1", name)


async def begin(turns: Beginnings, name: str) -> None:
    async with turns.turn(key(name), 1, lambda: None):
        pass


async def waits(turns: Beginnings, name: str) -> asyncio.Task[None]:
    """A beginning that has not come yet."""
    task = asyncio.create_task(begin(turns, name))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    return task


def test_the_next_one_begins_when_one_was_heard() -> None:
    async def act() -> None:
        turns = Beginnings(2)
        await begin(turns, "a")
        await begin(turns, "b")
        third = await waits(turns, "c")
        # Neither again nor of somebody else does an end count.
        turns.end(key("nobody"), 1)
        turns.end(key("a"), 1)
        turns.end(key("a"), 1)
        await third
        await waits(turns, "d")

    asyncio.run(act())


def test_one_that_could_not_begin_takes_no_turn() -> None:
    async def act() -> None:
        turns = Beginnings(1)
        with pytest.raises(OSError, match="no room"):
            async with turns.turn(key("a"), 1, lambda: None):
                raise OSError("no room")
        await begin(turns, "b")

    asyncio.run(act())


def test_one_that_is_never_heard_holds_up_nobody_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beginnings, "_PATIENCE_SECONDS", 0.05)

    async def act() -> None:
        turns = Beginnings(1)
        await begin(turns, "a")
        await asyncio.wait_for(begin(turns, "b"), 20)

    asyncio.run(act())
