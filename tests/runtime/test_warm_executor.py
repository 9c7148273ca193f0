"""The end of warm containers, whatever comes between; no containers."""

from __future__ import annotations

import asyncio
from typing import Any

from flytebuild.runtime.warm.executor import WarmExecutor


class Cold:
    """As much of the cold executor as the end asks: it takes its time to list what there is."""

    def __init__(self, meanwhile: asyncio.Event) -> None:
        self.containers = self
        self.removed: list[str] = []
        self._meanwhile = meanwhile

    async def listed(self) -> list[dict[str, Any]]:
        self._meanwhile.set()
        for _ in range(10):
            await asyncio.sleep(0)
        return [{"Id": "c1", "Labels": {"dev.flytebuild.worker": "1"}}]

    async def remove_all(self, containers: Any) -> None:
        self.removed += containers


def test_what_is_done_while_containers_are_listed_keeps_nothing_from_its_end() -> None:
    async def act() -> None:
        meanwhile = asyncio.Event()
        cold: Any = Cold(meanwhile)
        warm = WarmExecutor(cold, cold, starts=1)
        warm._chores.later(meanwhile.wait())
        await warm.aclose()
        assert cold.removed == ["c1", "c1"]

    asyncio.run(act())
