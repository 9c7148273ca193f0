"""Containers on the user's Docker Engine, through its API: detached, labelled, their logs kept in files.

Each running container has threads that wait for its end and follow its log; those threads are idle, and their number
follows that of the running containers, on purpose: a pool would let parents that wait for their children starve them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from flytebuild.runtime.addresses import LABEL
from flytebuild.runtime.admission import Capacity, capacity_of
from flytebuild.runtime.container import Order
from flytebuild.runtime.containers import Containers
from flytebuild.runtime.executor import Started, StartError, Survivor, Tell, tell_nobody
from flytebuild.runtime.images import Images
from flytebuild.runtime.requests import Requests
from flytebuild.runtime.secret_files import Feed
from flytebuild.runtime.verdict import Exit
from flytebuild.runtime.warm.worker import Worker
from flytebuild.runtime.watcher import Patience, Watcher
from flytebuild.threads import in_thread

if TYPE_CHECKING:
    import docker

log = logging.getLogger(__name__)


class DockerExecutor:
    """The executor on a Docker Engine; `ca_bundle` is the content of the bundle that containers shall trust.

    `home` is the value of their label that tells whose they are.
    """

    def __init__(
        self,
        client: docker.DockerClient,
        mirrors: Mapping[str, str],
        ca_bundle: bytes | None,
        patience: Patience = Patience(),  # noqa: B008 - a frozen value
        *,
        home: str = "",
    ) -> None:
        self._api = client.api
        self._patience = patience
        self.requests = Requests()
        self.images = Images(self._api, self.requests, mirrors, patience)
        self.containers = Containers(self._api, self.requests, ca_bundle, patience, home=home)
        self._ends: dict[str, asyncio.Future[Exit]] = {}

    # Executor

    async def start(
        self,
        order: Order,
        log_file: Path,
        turn: AbstractAsyncContextManager[object] = contextlib.nullcontext(),  # noqa: B008 - without a state
        tell: Tell = tell_nobody,
    ) -> Started:
        """Pull the image when the engine lacks it, then create and start the container."""
        image = await self.present(order.image, tell)
        async with turn:
            # What the engine was asked for comes, also when nobody wants it any more; it can be removed only then.
            launching = asyncio.ensure_future(self._launch(order, image, log_file))
            try:
                return await asyncio.shield(launching)
            except asyncio.CancelledError:
                with contextlib.suppress(StartError):
                    await self.remove(await launching)
                raise

    async def wait(self, started: Started) -> Exit:
        """Wait for the end of a container that this executor started."""
        return await asyncio.shield(self._ends[started.container])

    async def fetch(self, started: Started, path: str) -> Iterator[bytes]:
        """An archive of a folder of a container that has ended. Raises FileNotFoundError, OSError."""
        return await self.containers.fetch(started.container, path)

    async def remove(self, started: Started) -> None:
        """Kill and remove a container; it may be gone already. What does not go is tried again by `close`."""
        await self.containers.remove(started.container)
        self._ends.pop(started.container, None)

    async def present(self, image: str, tell: Tell = tell_nobody) -> str:
        """The name under which the engine has an image, pulled when it lacks it. Raises StartError."""
        return await self.images.present(image, tell)

    async def labels(self, image: str) -> dict[str, str] | None:
        """The labels of an image by its name or digest; None where the engine does not have it, or does not answer."""
        return await self.images.labels(image)

    def worker(self, started: Started, feed: Feed | None = None) -> Worker:
        """What watches a warm container, for the executor that has these."""
        return Worker(self._api, self.requests, started, feed, self._patience)

    # The engine as a whole

    def capacity(self) -> Capacity:
        """What containers can have."""
        return capacity_of(self._api.info())

    def gateway(self) -> str | None:
        """The address of the default bridge, by which containers reach the machine."""
        from docker.errors import DockerException

        try:
            for item in self._api.inspect_network("bridge")["IPAM"]["Config"] or ():
                if item.get("Gateway"):
                    return str(item["Gateway"])
        except DockerException as error:
            log.warning("the engine has no default bridge: %s", error)
        return None

    def close(self) -> None:
        """Remove what could not be removed before, then let go of the threads and the connection."""
        self.containers.close()
        self.requests.close()
        self._api.close()

    # Survivors

    async def found(self) -> tuple[Survivor, ...]:
        """The containers of the folder that an earlier control plane left."""
        return tuple(
            Survivor(
                started=Started(str(item["Id"]), str(item["ImageID"])),
                run=labels.get(f"{LABEL}.run", ""),
                action=labels.get(f"{LABEL}.action", ""),
                attempt=int(labels.get(f"{LABEL}.attempt") or 0),
                has_run=item.get("State") != "created",
            )
            for item in await self.containers.listed()
            for labels in (item.get("Labels") or {},)
        )

    def attach(self, started: Started, log_file: Path) -> None:
        """Watch a container that runs, or has ended."""
        watcher = Watcher(self._api, started.container, log_file, self._patience)
        self._ends[started.container] = in_thread(watcher.watch, f"watch-{started.container[:12]}")

    async def _launch(self, order: Order, image: str, log_file: Path) -> Started:
        """A container that runs and is watched; nothing is left of one that cannot be started."""
        started = await self.containers.create(order, image)
        await self.containers.begin(started, order.secret_files)
        try:
            self.attach(started, log_file)
        except RuntimeError as error:  # The system has no thread left.
            await self.remove(started)
            raise StartError("ContainerNotStarted", f"The container cannot be watched: {error}") from error
        return started
