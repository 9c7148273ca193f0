"""Containers on the engine: made from an order, begun, removed. Nothing is bind-mounted: it may be another machine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from flytebuild.runtime import archives
from flytebuild.runtime.addresses import HOST_NAME, LABEL
from flytebuild.runtime.archives import Entry
from flytebuild.runtime.container import CA_PATH, Limits, Order
from flytebuild.runtime.executor import Started, StartError
from flytebuild.runtime.requests import Requests, reason
from flytebuild.runtime.secret_files import TMPFS, Feed, entry
from flytebuild.runtime.watcher import Patience

log = logging.getLogger(__name__)

_REMOVAL_TRIES = 3
_REMOVAL_SECONDS = 15.0
"""A removal that failed is tried again, unless that much time has passed already."""


class Containers:
    """The containers of one data folder, `home`; `ca_bundle` is what they shall trust, `api` a `docker.APIClient`."""

    def __init__(self, api: Any, requests: Requests, ca_bundle: bytes | None, patience: Patience, *, home: str) -> None:
        self._api = api
        self._requests = requests
        self._ca_bundle = ca_bundle
        self._patience = patience
        self._home = home
        self._unremoved: set[str] = set()

    async def create(self, order: Order, image: str) -> Started:
        """A container that is not started yet. Raises StartError, and leaves none then."""
        from docker.errors import APIError, DockerException

        try:
            return await self._requests.ask(partial(self._create, order, image))
        except APIError as error:
            raise StartError("ContainerNotCreated", f"The engine refused the container: {reason(error)}") from error
        except (DockerException, OSError) as error:
            raise StartError("EngineUnavailable", f"The engine does not answer: {error}") from error

    async def begin(self, started: Started, secret_files: Mapping[str, str]) -> None:
        """Start a container, with what it waits for as files; one that cannot be is removed. Raises StartError."""
        try:
            await self._requests.ask(partial(self._begin, started.container, secret_files))
        except Exception as error:
            await self.remove(started.container)
            message = f"The engine cannot start the container: {reason(error)}"
            raise StartError("ContainerNotStarted", message) from error

    async def fetch(self, container: str, path: str) -> Iterator[bytes]:
        """An archive of a folder of one that has ended, as the engine sends it: to be read in a thread.

        Raises FileNotFoundError, OSError when the engine does not answer.
        """
        from docker.errors import DockerException, NotFound

        try:
            chunks, _ = await self._requests.ask(partial(self._api.get_archive, container, path))
        except NotFound as error:
            raise FileNotFoundError(path) from error
        except DockerException as error:
            raise OSError(reason(error)) from error
        return iter(chunks)

    async def is_running(self, container: str) -> bool:
        """Whether one runs. Raises OSError when the engine does not answer, or does not have it."""
        from docker.errors import DockerException

        try:
            return bool((await self._requests.ask(partial(self._api.inspect_container, container)))["State"]["Running"])
        except DockerException as error:
            raise OSError(reason(error)) from error

    async def open(self, started: Started) -> Feed:
        """The way into one that takes input; it is opened before the start. Raises StartError, and removes it then."""
        try:
            return await self._requests.ask(partial(Feed, self._api, started.container))
        except Exception as error:
            await self.remove(started.container)
            message = f"The engine does not give the container its input: {reason(error)}"
            raise StartError("ContainerNotStarted", message) from error

    async def remove(self, container: str) -> None:
        """Kill and remove a container; it may be gone already. What does not go is tried again by `close`."""
        self._unremoved.add(container)
        try:
            await self._requests.ask(partial(self._remove, container))
            self._unremoved.discard(container)
        except Exception as error:  # noqa: BLE001 - the end of an action does not hang on this
            log.warning("container %s was not removed: %s", container, error)

    async def listed(self) -> Sequence[Mapping[str, Any]]:
        """All that there are on the engine, whoever started them. Raises StartError when it does not answer."""
        labelled = {"label": f"{LABEL}.home={self._home}"}
        try:
            return list(await self._requests.ask(partial(self._api.containers, all=True, filters=labelled)))
        except Exception as error:
            raise StartError("EngineUnavailable", f"The engine does not answer: {error}") from error

    async def remove_all(self, containers: Iterable[str]) -> None:
        """Remove several at the same time."""
        await asyncio.gather(*map(self.remove, containers))

    def close(self) -> None:
        """Try once more to remove what could not be removed."""
        for container in sorted(self._unremoved):
            with contextlib.suppress(Exception):
                self._api.remove_container(container, force=True, v=True)

    def _begin(self, container: str, secret_files: Mapping[str, str]) -> None:
        if not secret_files:
            self._api.start(container)
            return
        with contextlib.closing(Feed(self._api, container)) as feed:
            self._api.start(container)
            feed.write(secret_files)

    def _create(self, order: Order, image: str) -> Started:
        from docker.types import LogConfig

        entrypoint, arguments = list(order.entrypoint), list(order.arguments)
        if order.secret_files and not order.takes_input:
            entrypoint, arguments = entry(entrypoint, arguments, self._api.inspect_image(image)["Config"]), []
        # Named by us, so that it can be removed when the engine made it without the answer having come.
        name = f"flytebuild-{secrets.token_hex(8)}"
        try:
            created = self._api.create_container(
                image,
                name=name,
                command=arguments,
                entrypoint=entrypoint or None,
                stdin_open=bool(order.secret_files) or order.takes_input,
                environment=dict(order.environment),
                labels=dict(order.labels),
                host_config=self._api.create_host_config(
                    tmpfs=TMPFS if order.secret_files else None,
                    # The engine's own default may be a driver whose logs cannot be read again.
                    log_config=LogConfig(type=LogConfig.types.JSON),
                    **network_settings(order.network),
                    **host_settings(order.limits),
                ),
            )
            container = str(created["Id"])
            if files := (*trust(self._ca_bundle), *order.files):
                self._api.put_archive(container, "/", archives.pieces(files))
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


def host_settings(limits: Limits) -> dict[str, Any]:
    """Limits as Docker's SDK takes them for a container's host configuration."""
    from docker.types import DeviceRequest

    settings = {
        "nano_cpus": limits.nano_cpus,
        "mem_limit": limits.memory,
        # Without this a container gets as much swap on top, and is slow instead of stopped.
        "memswap_limit": limits.memory,
        "shm_size": limits.shared_memory,
        "device_requests": [DeviceRequest(count=limits.gpus, capabilities=[["gpu"]])] if limits.gpus else None,
    }
    return {name: value for name, value in settings.items() if value is not None}


def network_settings(network: str) -> dict[str, Any]:
    """The network of a container in which HOST_NAME is the control plane, as Docker's SDK takes it.

    Without one, that is the machine on which the engine is.
    """
    return {"network_mode": network} if network else {"extra_hosts": {HOST_NAME: "host-gateway"}}


def trust(ca_bundle: bytes | None) -> tuple[Entry, ...]:
    """The certificates that a container trusts, readable by all, and their folder."""
    if ca_bundle is None:
        return ()
    path = CA_PATH.lstrip("/")
    return Entry(path.rpartition("/")[0], None, 0o755), Entry(path, ca_bundle, 0o644)
