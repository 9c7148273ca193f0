"""Containers on the user's Docker Engine, through its API: detached, labelled, their logs kept in files.

Nothing is bind-mounted, so that the engine may live on another machine. Each running container has threads that
wait for its end and follow its log; those threads are idle, and their number follows that of the running containers,
on purpose: a pool would let parents that wait for their children starve them.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import secrets
import tarfile
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from flytebuild.errors import UsageError
from flytebuild.registry.credentials import Credentials, api_host, find
from flytebuild.registry.reference import mirrored, parse
from flytebuild.runtime.admission import Capacity
from flytebuild.runtime.container import CA_PATH, LABEL, Order
from flytebuild.runtime.executor import Started, StartError, Survivor, Tell, tell_nobody
from flytebuild.runtime.secret_files import TMPFS, Feed, entry
from flytebuild.runtime.verdict import Exit
from flytebuild.runtime.watcher import Patience, Watcher

if TYPE_CHECKING:
    import docker

log = logging.getLogger(__name__)
T = TypeVar("T")

_REQUESTS = 16
"""Engine requests at the same time; each is short, except for pulls."""

_TELL_SECONDS = 1.0
"""How often it is told how far a pull is."""

_REMOVAL_TRIES = 3
_REMOVAL_SECONDS = 15.0
"""A removal that failed is tried again, unless that much time has passed already."""


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
        self._mirrors = mirrors
        self._ca_bundle = ca_bundle
        self._patience = patience
        self._home = home
        self._pool = ThreadPoolExecutor(_REQUESTS, thread_name_prefix="engine")
        self._pulls: dict[str, asyncio.Lock] = {}
        self._ends: dict[str, asyncio.Future[Exit]] = {}
        self._unremoved: set[str] = set()

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

    async def remove(self, started: Started) -> None:
        """Kill and remove a container; it may be gone already. What does not go is tried again by `close`."""
        container = started.container
        self._unremoved.add(container)
        try:
            await self._call(partial(self._remove, container))
            self._unremoved.discard(container)
        except Exception as error:  # noqa: BLE001 - the end of an action does not hang on this
            log.warning("container %s was not removed: %s", container, error)
        self._ends.pop(container, None)

    # The engine as a whole

    def capacity(self) -> Capacity:
        """What containers can have."""
        info = self._api.info()
        cpus, memory = int(info.get("NCPU") or 0), int(info.get("MemTotal") or 0)
        # Newer engines list their devices; of an older one it is not known how many there are.
        devices = info.get("DiscoveredDevices")
        gpus = sum("/gpu" in str(item.get("ID", "")) for item in devices) if devices else None
        return Capacity(cpus * 1000 or None, memory or None, gpus)

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

    # Survivors

    async def found(self) -> tuple[Survivor, ...]:
        """The containers of the folder that an earlier control plane left."""
        try:
            items = await self._call(self._listed)
        except Exception as error:
            raise StartError("EngineUnavailable", f"The engine does not answer: {error}") from error
        return tuple(
            Survivor(
                started=Started(str(item["Id"]), str(item["ImageID"])),
                run=labels.get(f"{LABEL}.run", ""),
                action=labels.get(f"{LABEL}.action", ""),
                attempt=int(labels.get(f"{LABEL}.attempt") or 0),
                has_run=item.get("State") != "created",
            )
            for item in items
            for labels in (item.get("Labels") or {},)
        )

    def attach(self, started: Started, log_file: Path) -> None:
        """Watch a container that runs, or has ended."""
        self._watch(started.container, log_file)

    def _listed(self) -> list[dict[str, Any]]:
        return list(self._api.containers(all=True, filters={"label": f"{LABEL}.home={self._home}"}))

    def close(self) -> None:
        """Try once more to remove what could not be removed, then let go of the threads and the connection."""
        for container in sorted(self._unremoved):
            with contextlib.suppress(Exception):
                self._api.remove_container(container, force=True, v=True)
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._api.close()

    # Steps

    async def _call(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)

    async def present(self, image: str, tell: Tell = tell_nobody) -> str:
        """The name under which the engine has an image, pulled from a mirror if there is one for it.

        Raises StartError.
        """
        from docker.errors import APIError

        try:
            if await self._call(partial(self._has_image, image)):
                return image
            source = mirrored(image, self._mirrors)
            async with self._pulls.setdefault(source, asyncio.Lock()):
                if not await self._call(partial(self._has_image, source)):
                    await self._pull(source, tell)
            return source
        except UsageError as error:
            raise StartError("InvalidImageName", error.message, is_system=False) from error
        except StartError:
            raise
        except APIError as error:
            raise StartError("ImagePullBackOff", f"Image `{image}` cannot be pulled: {_reason(error)}") from error
        except Exception as error:  # Of several HTTP layers, where a pull breaks off.
            raise StartError("EngineUnavailable", f"The engine does not answer: {error}") from error

    def _has_image(self, image: str) -> bool:
        from docker.errors import NotFound

        try:
            self._api.inspect_image(image)
        except NotFound:
            return False
        return True

    async def _pull(self, image: str, tell: Tell) -> None:
        """Pull an image for as long as it makes progress, with the credentials that there are by now."""
        from docker.errors import APIError

        heard = time.monotonic()
        moved: dict[str, tuple[int, int]] = {}

        def pull() -> None:
            nonlocal heard
            source = parse(image)
            found = find(api_host(source.registry), source.repository)
            for message in self._api.pull(image, stream=True, decode=True, auth_config=_auth_config(found)):
                heard = time.monotonic()
                if "error" in message:
                    raise APIError(message["error"])
                detail = message.get("progressDetail") or {}
                if message.get("status") == "Downloading" and detail.get("total"):
                    moved[message["id"]] = (detail["current"], detail["total"])

        pulling = _in_thread(pull, f"pull-{image}")
        while not pulling.done():
            left = heard + self._patience.pull - time.monotonic()
            if left <= 0:
                message = f"Image `{image}` cannot be pulled: no progress for {self._patience.pull:g} s"
                raise StartError("ImagePullBackOff", message)
            current, total = (sum(column) // 1_000_000 for column in zip((0, 0), *list(moved.values()), strict=True))
            tell(f"pulling its image, {current} of {total} MB" if total else "pulling its image")
            await asyncio.wait([pulling], timeout=min(left, _TELL_SECONDS))
        tell("")
        await pulling

    async def _launch(self, order: Order, image: str, log_file: Path) -> Started:
        """A container that runs and is watched; nothing is left of one that cannot be started."""
        from docker.errors import APIError, DockerException

        try:
            started = await self._call(partial(self._create, order, image))
        except APIError as error:
            raise StartError("ContainerNotCreated", f"The engine refused the container: {_reason(error)}") from error
        except (DockerException, OSError) as error:
            raise StartError("EngineUnavailable", f"The engine does not answer: {error}") from error
        try:
            await self._call(partial(self._begin, started.container, order.secret_files))
            self._watch(started.container, log_file)
        except Exception as error:
            await self.remove(started)
            reason = _reason(error)
            raise StartError("ContainerNotStarted", f"The engine cannot start the container: {reason}") from error
        return started

    def _begin(self, container: str, secret_files: Mapping[str, str]) -> None:
        if not secret_files:
            self._api.start(container)
            return
        with contextlib.closing(Feed(self._api, container)) as feed:
            self._api.start(container)
            feed.write(secret_files)

    def _create(self, order: Order, image: str) -> Started:
        from docker.types import DeviceRequest, LogConfig

        gpus = [DeviceRequest(count=order.limits.gpus, capabilities=[["gpu"]])] if order.limits.gpus else None
        limits: dict[str, Any] = {
            "nano_cpus": order.limits.nano_cpus,
            "mem_limit": order.limits.memory,
            # Without this a container gets as much swap on top, and is slow instead of stopped.
            "memswap_limit": order.limits.memory,
            "shm_size": order.limits.shared_memory,
            "tmpfs": TMPFS if order.secret_files else None,
        }
        entrypoint, arguments = list(order.entrypoint), list(order.arguments)
        if order.secret_files:
            entrypoint, arguments = entry(entrypoint, arguments, self._api.inspect_image(image)["Config"]), []
        # Named by us, so that it can be removed when the engine made it without the answer having come.
        name = f"flytebuild-{secrets.token_hex(8)}"
        try:
            created = self._api.create_container(
                image,
                name=name,
                command=arguments,
                entrypoint=entrypoint or None,
                stdin_open=bool(order.secret_files),
                environment=dict(order.environment),
                labels=dict(order.labels),
                host_config=self._api.create_host_config(
                    extra_hosts=dict(order.hosts),
                    device_requests=gpus,
                    # The engine's own default may be a driver whose logs cannot be read again.
                    log_config=LogConfig(type=LogConfig.types.JSON),
                    **{name: value for name, value in limits.items() if value is not None},
                ),
            )
            container = str(created["Id"])
            if self._ca_bundle is not None:
                self._api.put_archive(container, "/", _archive(CA_PATH.lstrip("/"), self._ca_bundle))
            # Asked before the start, since afterwards the engine answers only when the start is through.
            return Started(container, str(self._api.inspect_container(container)["Image"]))
        except BaseException:
            with contextlib.suppress(Exception):
                self._api.remove_container(name, force=True, v=True)
            raise

    def _remove(self, container: str) -> None:
        """Remove a container in a few tries; in a thread."""
        from docker.errors import APIError, NotFound

        begun = time.monotonic()
        for number in range(1, _REMOVAL_TRIES + 1):
            try:
                self._api.remove_container(container, force=True, v=True)
                return
            except NotFound:
                return
            except Exception as error:
                # 409: a removal is under way already.
                if isinstance(error, APIError) and error.status_code == 409:
                    return
                if number == _REMOVAL_TRIES or time.monotonic() - begun > _REMOVAL_SECONDS:
                    raise
                time.sleep(self._patience.pause)

    def _watch(self, container: str, log_file: Path) -> None:
        watcher = Watcher(self._api, container, log_file, self._patience)
        self._ends[container] = _in_thread(watcher.watch, f"watch-{container[:12]}")


def _in_thread(function: Callable[[], T], name: str) -> asyncio.Future[T]:
    """Run something that may take long in a thread that nobody has to wait for, not even the end of the process."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def report(result: T | None, error: Exception | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, failure = None, None
        try:
            result = function()
        except Exception as error:  # noqa: BLE001 - it is raised where the future is awaited
            failure = error
        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits any more.
            loop.call_soon_threadsafe(report, result, failure)

    threading.Thread(target=run, name=name, daemon=True).start()
    return done


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


def _auth_config(credentials: Credentials | None) -> dict[str, str] | None:
    """Credentials as the engine's API takes them; None leaves them to Docker's SDK."""
    if credentials is None:
        return None
    if not credentials.username:
        return {"identitytoken": credentials.secret}
    return {"username": credentials.username, "password": credentials.secret}


def _reason(error: Exception) -> str:
    return str(getattr(error, "explanation", None) or error)
