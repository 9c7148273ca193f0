"""The executor of an engine on another machine: whatever asks the control plane for something has the relay to it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from flytebuild.runtime.chores import Chores
from flytebuild.runtime.container import Order
from flytebuild.runtime.docker_executor import DockerExecutor
from flytebuild.runtime.executor import Started, StartError, Survivor, Tell, tell_nobody
from flytebuild.runtime.relay import Relay
from flytebuild.runtime.verdict import Exit
from flytebuild.runtime.warm.executor import WarmExecutor

log = logging.getLogger(__name__)


class RelayedExecutor:
    """Has a relay before anything starts that needs it; `inner` starts it then, on the engine of `cold`."""

    def __init__(self, inner: WarmExecutor, cold: DockerExecutor, relay: Relay) -> None:
        self._inner = inner
        self._cold = cold
        self._relay = relay
        self._chores = Chores()

    # Executor

    async def start(
        self,
        order: Order,
        log_file: Path,
        turn: AbstractAsyncContextManager[object] = contextlib.nullcontext(),  # noqa: B008 - without a state
        tell: Tell = tell_nobody,
    ) -> Started:
        """Start one that reaches the control plane."""
        await self.prepare(order, tell)
        return await self._inner.start(order, log_file, turn, tell)

    async def prepare(self, order: Order, tell: Tell = tell_nobody) -> None:
        """Have what the container of an order needs to reach the control plane. Raises StartError.

        The first that has Flyte's SDK lends the relay its image; others ask for nothing, and need no relay.
        """
        if not order.is_flyte:
            await self._relay.have_network()
            return
        image = await self._cold.present(order.image, tell)
        tell("the relay to the control plane")
        await self._relay.have(image)

    async def wait(self, started: Started) -> Exit:
        """Wait for the end of an attempt that this executor started or took over."""
        return await self._inner.wait(started)

    async def fetch(self, started: Started, path: str) -> Iterator[bytes]:
        """An archive of a folder of a container that has ended. Raises FileNotFoundError, OSError."""
        return await self._inner.fetch(started, path)

    async def remove(self, started: Started) -> None:
        """Have nothing left of an attempt."""
        await self._inner.remove(started)

    # Survivors

    async def found(self) -> tuple[Survivor, ...]:
        """What an earlier control plane left; its relay has ended with it, and is among what nobody wants."""
        return await self._inner.found()

    def attach(self, started: Started, log_file: Path) -> None:
        """Watch an attempt that runs, or has ended; it gets a relay again."""
        self._inner.attach(started, log_file)
        self._chores.later(self._reconnect(started))

    async def _reconnect(self, started: Started) -> None:
        try:
            await self._relay.have(started.image_id)
        except StartError as error:
            log.warning("container %s does not reach us: %s", started.container[:12], error.message)
