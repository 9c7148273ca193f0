"""Containers on the user's Docker Engine, through its API: detached, labelled, their logs kept in files.

Nothing is bind-mounted, so that the engine may live on another machine. Each running container has a thread that
follows its log and then waits for its end; those threads are idle, and their number is that of the running
containers, on purpose: a pool would let parents that wait for their children starve them.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import tarfile
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from flytebuild.errors import UsageError
from flytebuild.registry.reference import mirrored
from flytebuild.runtime.container import CA_PATH, LABEL, Order
from flytebuild.runtime.verdict import Exit

if TYPE_CHECKING:
    import docker

log = logging.getLogger(__name__)
T = TypeVar("T")

_REQUESTS = 16
"""Engine requests at the same time; each is short, except for pulls."""

_LOST_AFTER = 30.0
"""Seconds for which the engine may be away before a running container is given up."""


class StartError(Exception):
    """Raised when a container cannot be started; `code` is the failure's, as Flyte names it."""

    def __init__(self, code: str, message: str, *, is_system: bool = True) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.is_system = is_system


@dataclass(frozen=True, slots=True)
class Started:
    """A container that runs: its identifier, and the digest of its image."""

    container: str
    image_id: str


class Executor(Protocol):
    """What runs containers."""

    async def start(self, order: Order, log_file: Path) -> Started:
        """Create and start one; raises StartError."""

    async def wait(self, started: Started) -> Exit:
        """Wait for its end; its log is complete then."""

    async def remove(self, started: Started) -> None:
        """Remove it, killing it when it still runs."""


class DockerExecutor:
    """The executor on a Docker Engine; `ca_bundle` is the content of the bundle that containers shall trust."""

    def __init__(self, client: docker.DockerClient, mirrors: Mapping[str, str], ca_bundle: bytes | None) -> None:
        self._api = client.api
        self._mirrors = mirrors
        self._ca_bundle = ca_bundle
        self._pool = ThreadPoolExecutor(_REQUESTS, thread_name_prefix="engine")
        self._pulls: dict[str, asyncio.Lock] = {}
        self._ends: dict[str, asyncio.Future[Exit]] = {}

    # Executor

    async def start(self, order: Order, log_file: Path) -> Started:
        """Pull the image when the engine lacks it, then create and start the container."""
        from docker.errors import APIError, DockerException

        image = await self._present(order.image)
        try:
            started = await self._call(partial(self._create, order, image))
        except APIError as error:
            raise StartError("ContainerNotCreated", f"The engine refused the container: {_reason(error)}") from error
        except (DockerException, OSError) as error:
            raise StartError("EngineUnavailable", f"The engine does not answer: {error}") from error
        try:
            await self._call(partial(self._api.start, started.container))
        except (DockerException, OSError) as error:
            await self.remove(started)
            reason = _reason(error)
            raise StartError("ContainerNotStarted", f"The engine cannot start the container: {reason}") from error
        self._watch(started.container, log_file)
        return started

    async def wait(self, started: Started) -> Exit:
        """Wait for the end of a container that this executor started."""
        return await asyncio.shield(self._ends[started.container])

    async def remove(self, started: Started) -> None:
        """Remove a container, killing it when it still runs."""
        from docker.errors import APIError, DockerException, NotFound

        try:
            await self._call(partial(self._api.remove_container, started.container, force=True, v=True))
        except NotFound:
            pass
        except APIError as error:
            # 409: a removal is under way already.
            if error.status_code != 409:
                log.warning("container %s was not removed: %s", started.container, error)
        except (DockerException, OSError) as error:
            log.warning("container %s was not removed: %s", started.container, error)
        self._ends.pop(started.container, None)

    # The engine as a whole

    def cpus(self) -> int:
        """How many CPUs containers can have."""
        return int(self._api.info().get("NCPU", 0))

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

    def remove_leftovers(self, home: str) -> int:
        """Remove the containers that an earlier control plane of the same folder left when it was killed."""
        found = self._api.containers(all=True, filters={"label": f"{LABEL}.home={home}"})
        for item in found:
            self._api.remove_container(item["Id"], force=True, v=True)
        return len(found)

    def close(self) -> None:
        """Let go of the threads and the connection."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._api.close()

    # Steps

    async def _call(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)

    async def _present(self, image: str) -> str:
        """The name under which the engine has an image, pulled from a mirror if there is one for it."""
        from docker.errors import APIError, DockerException

        try:
            if await self._call(partial(self._has_image, image)):
                return image
            source = mirrored(image, self._mirrors)
            async with self._pulls.setdefault(source, asyncio.Lock()):
                if not await self._call(partial(self._has_image, source)):
                    await self._call(partial(self._pull, source))
            return source
        except UsageError as error:
            raise StartError("InvalidImageName", error.message, is_system=False) from error
        except APIError as error:
            raise StartError("ImagePullBackOff", f"Image `{image}` cannot be pulled: {_reason(error)}") from error
        except (DockerException, OSError) as error:
            raise StartError("EngineUnavailable", f"The engine does not answer: {error}") from error

    def _has_image(self, image: str) -> bool:
        from docker.errors import NotFound

        try:
            self._api.inspect_image(image)
        except NotFound:
            return False
        return True

    def _pull(self, image: str) -> None:
        from docker.errors import APIError

        for message in self._api.pull(image, stream=True, decode=True):
            if "error" in message:
                raise APIError(message["error"])

    def _create(self, order: Order, image: str) -> Started:
        from docker.types import DeviceRequest

        gpus = [DeviceRequest(count=order.limits.gpus, capabilities=[["gpu"]])] if order.limits.gpus else None
        limits: dict[str, Any] = {
            "nano_cpus": order.limits.nano_cpus,
            "mem_limit": order.limits.memory,
            # Without this a container gets as much swap on top, and is slow instead of stopped.
            "memswap_limit": order.limits.memory,
            "shm_size": order.limits.shared_memory,
        }
        created = self._api.create_container(
            image,
            command=list(order.arguments),
            entrypoint=list(order.entrypoint) or None,
            environment=dict(order.environment),
            labels=dict(order.labels),
            host_config=self._api.create_host_config(
                extra_hosts=dict(order.hosts),
                device_requests=gpus,
                **{name: value for name, value in limits.items() if value is not None},
            ),
        )
        container = str(created["Id"])
        try:
            if self._ca_bundle is not None:
                self._api.put_archive(container, "/", _archive(CA_PATH.lstrip("/"), self._ca_bundle))
            # Asked before the start, since afterwards the engine answers only when the start is through.
            return Started(container, str(self._api.inspect_container(container)["Image"]))
        except BaseException:
            self._api.remove_container(container, force=True, v=True)
            raise

    def _watch(self, container: str, log_file: Path) -> None:
        loop = asyncio.get_running_loop()
        end: asyncio.Future[Exit] = loop.create_future()
        self._ends[container] = end

        def report(exit_: Exit) -> None:
            if not end.done():
                end.set_result(exit_)

        def watch() -> None:
            exit_ = self._follow(container, log_file)
            with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits any more.
                loop.call_soon_threadsafe(report, exit_)

        threading.Thread(target=watch, name=f"watch-{container[:12]}", daemon=True).start()

    def _follow(self, container: str, log_file: Path) -> Exit:
        """Copy the log until the container ends, then say how; in a thread."""
        log_file.parent.mkdir(parents=True, exist_ok=True)
        last_seen = time.monotonic()
        with log_file.open("wb", buffering=0) as file:
            while True:
                try:
                    # After a broken connection the log is read from its start again.
                    file.seek(0)
                    file.truncate()
                    for piece in self._api.logs(container, stream=True, follow=True, timestamps=True):
                        file.write(piece)
                    self._api.wait(container, timeout=None)
                    state = self._api.inspect_container(container)["State"]
                    return Exit(int(state["ExitCode"]), bool(state.get("OOMKilled")))
                except Exception as error:  # noqa: BLE001 - the SDK lets errors of several HTTP layers through
                    if getattr(error, "status_code", None) in (404, 409):
                        return Exit(None, problem="The container was removed by somebody else")
                    if time.monotonic() - last_seen > _LOST_AFTER:
                        return Exit(None, problem=f"The engine is gone: {error}")
                    log.warning("lost sight of container %s: %s", container[:12], error)
                    time.sleep(1)
                    with contextlib.suppress(Exception):
                        self._api.ping()
                        last_seen = time.monotonic()


def _archive(path: str, content: bytes) -> bytes:
    """A tar archive with one file, readable by all, and its folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        folder = tarfile.TarInfo(path.rpartition("/")[0])
        folder.type = tarfile.DIRTYPE
        folder.mode = 0o755
        archive.addfile(folder)
        file = tarfile.TarInfo(path)
        file.size = len(content)
        file.mode = 0o644
        archive.addfile(file, io.BytesIO(content))
    return buffer.getvalue()


def _reason(error: Exception) -> str:
    return str(getattr(error, "explanation", None) or error)
