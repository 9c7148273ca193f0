"""Which relay there is, and when there is another one; no containers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from flytebuild.runtime import relay
from flytebuild.runtime.executor import StartError
from flytebuild.runtime.relay import ImageGoneError, Relay

SECONDS = 30.0


class Tried(Relay):
    """Tells of each image that it is to start in; images whose names are in `gone` cannot be started any more."""

    def __init__(self) -> None:
        nothing: Any = None
        super().__init__(nothing, nothing, nothing, nothing, Path(), home="h", port=1)
        self.images: asyncio.Queue[str] = asyncio.Queue()
        self.gone: set[str] = set()
        self.lost = asyncio.Event()

    async def next(self) -> str:
        return await asyncio.wait_for(self.images.get(), SECONDS)

    async def end(self) -> None:
        assert self._keeper is not None
        self._keeper.cancel()
        await asyncio.wait([self._keeper])

    async def _serve(self, image: str) -> None:
        self.images.put_nowait(image)
        if image in self.gone:
            raise ImageGoneError("RelayNotStarted", "there is no such image")
        self._is_up.set()
        await self.lost.wait()
        self.lost.clear()
        raise OSError("lost")


def test_one_that_is_lost_comes_back_in_an_image_that_is_still_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "_PAUSES", (0.0,))

    async def act() -> None:
        tried = Tried()
        await tried.have("first")
        assert await tried.next() == "first"
        tried.gone = {"first"}
        tried.lost.set()
        assert await tried.next() == "first"
        await asyncio.wait_for(tried.have("second"), SECONDS)
        while await tried.next() == "first":
            pass
        await tried.end()

    asyncio.run(act())


def test_one_that_is_lost_keeps_its_image_while_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "_PAUSES", (0.0,))

    async def act() -> None:
        tried = Tried()
        await tried.have("first")
        await tried.have("chosen by a task")
        for _ in range(2):
            assert await tried.next() == "first"
            tried.lost.set()
        await tried.end()

    asyncio.run(act())


def test_whoever_asks_for_the_first_one_is_told_why_there_is_none() -> None:
    async def act() -> None:
        tried = Tried()
        tried.gone = {"first"}
        with pytest.raises(StartError, match="there is no such image"):
            await tried.have("first")
        await tried.have("second")
        await tried.end()

    asyncio.run(act())


def test_one_connection_too_many_is_answered_in_http() -> None:
    most = relay.most_connections()
    assert 0 < most <= 2048
    status, *_ = relay.refusal(most).decode().splitlines()
    head, _, words = relay.refusal(most).partition(b"\r\n\r\n")
    assert status == "HTTP/1.1 503 Service Unavailable"
    assert f"content-length: {len(words)}".encode() in head
    assert f"has {most} connections" in words.decode()
