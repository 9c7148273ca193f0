"""What the control plane does again and again; each piece of it is tested where it is done."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from flytebuild.runtime.upkeep import regularly


def test_what_fails_once_is_done_again(caplog: pytest.LogCaptureFixture) -> None:
    async def act() -> None:
        first, again = asyncio.Event(), asyncio.Event()

        async def work() -> None:
            if not first.is_set():
                first.set()
                raise OSError("the disk is busy")
            again.set()

        task = asyncio.create_task(regularly(0, work))
        await asyncio.wait_for(again.wait(), 30)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(act())
    assert "`work` failed" in caplog.text
    assert "the disk is busy" in caplog.text
