"""How containers on an engine of another machine reach the control plane, without a port that anybody opens.

A network of the control plane's own on the engine; in it a container, the relay, that has the name by which containers
call the control plane. What it accepts comes here over the engine's own API, through the relay's standard input and
output, and on to a socket of ours that only its owner can reach. So it takes nothing but the engine: by `ssh://` as by
`tcp://`, whatever stands between. The program in it is `flytebuild.inside.relay`, and so is the other end.

A relay that is lost is replaced. Connections break then, which the SDKs make anew, as when the control plane is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import secrets
import socket
import struct
from functools import partial
from pathlib import Path
from typing import Any

from flytebuild.buildkit.upgrade import upgrade
from flytebuild.engine import EngineAddress
from flytebuild.errors import ConfigError
from flytebuild.inside.relay import ALIVE, Stream, Tunnel
from flytebuild.runtime.addresses import HOST_NAME, LABEL
from flytebuild.runtime.containers import Containers
from flytebuild.runtime.executor import StartError
from flytebuild.runtime.interpreter import command_of
from flytebuild.runtime.requests import Requests, reason
from flytebuild.streams.dial import dialler

log = logging.getLogger(__name__)

_START_SECONDS = 60.0
_SILENCE_SECONDS = 60.0
"""After so long without an answer the relay is taken for lost; a network that is gone for half a minute is not."""

_PAUSES = (0.2, 1.0, 5.0, 15.0)
"""Seconds between tries to have a relay again; the last one counts for all further ones."""

_FRAME = struct.Struct(">BxxxI")
"""How the engine tells a container's output from its errors (Docker Engine API, `ContainerAttach`)."""

_MOST_CONNECTIONS = 2048
"""So many go through the relay at the same time, and fewer where this process may open few files: each takes two."""

_STDERR = 2
_LAST_WORDS = 500


def most_connections() -> int:
    """So many connections go through the relay at once: half of the files that this process may open is for others."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else min(_MOST_CONNECTIONS, soft // 4)


def refusal(most: int) -> bytes:
    """The answer to whatever request comes by one connection more: a while later it may go well."""
    words = f"the relay to the control plane has {most} connections, and takes no more\n".encode()
    head = f"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: {len(words)}"
    return head.encode() + b"\r\ncontent-type: text/plain\r\n\r\n" + words


def network_of(home: str) -> str:
    """The name of a data folder's network."""
    return f"flytebuild-{home}"


class ImageGoneError(StartError):
    """Raised where the engine does not have a relay's image any more."""


class Relay:
    """The relay of the data folder `home`, for `port`; what it brings is joined with the socket at `door`."""

    def __init__(
        self,
        api: Any,
        requests: Requests,
        containers: Containers,
        address: EngineAddress,
        door: Path,
        *,
        home: str,
        port: int,
    ) -> None:
        self._api = api
        self._requests = requests
        self._containers = containers
        self._address = address
        self._door = door
        self._home = home
        self._port = port
        self._asked = ""
        self._keeper: asyncio.Task[None] | None = None
        self._is_up = asyncio.Event()

    async def have_network(self) -> None:
        """Have the network that containers join. Raises StartError."""
        try:
            await self._requests.ask(self._make_network)
        except Exception as error:
            raise StartError("NetworkNotCreated", f"The engine refused a network: {reason(error)}") from error

    async def have(self, image: str) -> None:
        """Have a relay that works, in a container of an image where none is yet. Raises StartError.

        It keeps its image when it is replaced, since a task may choose those of the tasks that it calls; should the
        image be gone by then, it has the one that was asked for last.
        """
        self._asked = image
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.create_task(self._keep())
        up = asyncio.create_task(self._is_up.wait())
        try:
            await asyncio.wait({self._keeper, up}, timeout=_START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            up.cancel()
        if self._keeper.done():
            await self._keeper
        elif not self._is_up.is_set():
            message = f"No relay to the control plane has come up within {_START_SECONDS:g} s"
            raise StartError("RelayNotStarted", message)

    async def aclose(self) -> None:
        """Remove the relay and the network."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        try:
            await self._requests.ask(self._remove_network)
        except Exception as error:  # noqa: BLE001 - the next control plane of the folder uses it
            log.warning("network %s was not removed: %s", network_of(self._home), reason(error))

    # The relay's life

    async def _keep(self) -> None:
        """Have one relay after the other. Raises StartError where not even the first one comes up."""
        image, losses, has_been_up, told = self._asked, 0, False, ""
        while True:
            try:
                await self._serve(image)
            except (StartError, OSError, ValueError) as error:
                if isinstance(error, StartError) and not has_been_up:
                    raise
                if isinstance(error, ImageGoneError):
                    image = self._asked
                if str(error) != told:
                    told = str(error)
                    log.warning("the relay on the engine was lost: %s", told)
            losses = 0 if self._is_up.is_set() else losses + 1
            has_been_up = has_been_up or self._is_up.is_set()
            self._is_up.clear()
            await asyncio.sleep(_PAUSES[min(losses, len(_PAUSES) - 1)])

    async def _serve(self, image: str) -> None:
        """One relay, from its start to its end. Raises StartError where it does not come up, or OSError later."""
        await self.have_network()
        name = f"flytebuild-relay-{secrets.token_hex(8)}"
        launching = asyncio.ensure_future(self._requests.ask(partial(self._launch, name, image)))
        try:
            raw = await asyncio.open_connection(sock=await asyncio.shield(launching))
            await self._pass_on(raw, image)
        finally:
            # What the engine was asked for comes, also when nobody wants it any more.
            await asyncio.wait([launching])
            if launching.exception() is None:
                launching.result().close()
            await self._containers.remove(name)

    async def _pass_on(self, raw: Stream, image: str) -> None:
        output = Output(raw[0])
        most = most_connections()
        tunnel = Tunnel((output.stream, raw[1]), self._connect, most, refusal(most))
        tasks = [asyncio.create_task(work) for work in (output.separate(), tunnel.serve())]
        try:
            ready = asyncio.create_task(tunnel.is_ready.wait())
            await asyncio.wait({ready, *tasks}, timeout=_START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            ready.cancel()
            if not tunnel.is_ready.is_set():
                raise StartError("RelayNotStarted", f"No relay starts in image `{image}`: {output.last_words}")
            self._is_up.set()
            heard, refused = -1, 0
            while not tasks[1].done():
                if tunnel.heard == heard:
                    raise OSError(f"it has not answered for {_SILENCE_SECONDS:g} s")
                heard = tunnel.heard
                if tunnel.refused > refused:
                    log.warning("the relay refused %d connections beyond %d", tunnel.refused - refused, most)
                    refused = tunnel.refused
                tunnel.send(ALIVE)
                await asyncio.wait({tasks[1]}, timeout=_SILENCE_SECONDS)
            raise OSError(output.last_words)
        finally:
            raw[1].close()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _connect(self) -> Stream:
        return await asyncio.open_unix_connection(self._door)

    # What the engine is asked for; in threads

    def _launch(self, name: str, image: str) -> socket.socket:
        """Start a relay; its standard input and output. Raises StartError; the container may be there all the same."""
        from docker.errors import APIError, DockerException, ImageNotFound
        from docker.types import LogConfig

        network = network_of(self._home)
        try:
            self._api.create_container(
                image,
                name=name,
                entrypoint=list(command_of("relay", str(self._port))),
                stdin_open=True,
                labels={f"{LABEL}.home": self._home, f"{LABEL}.relay": "1"},
                host_config=self._api.create_host_config(
                    network_mode=network,
                    # All that goes through it would be kept.
                    log_config=LogConfig(type="none"),
                ),
                networking_config=self._api.create_networking_config(
                    {network: self._api.create_endpoint_config(aliases=[HOST_NAME])}
                ),
            )
            with contextlib.ExitStack() as stack:
                connection = stack.enter_context(contextlib.closing(dialler(self._address).dial()))
                upgrade(connection, f"/containers/{name}/attach?stream=1&stdin=1&stdout=1&stderr=1", "tcp")
                self._api.start(name)
                stack.pop_all()
        except ImageNotFound as error:
            raise ImageGoneError("RelayNotStarted", f"The relay's image is gone: {reason(error)}") from error
        except (APIError, DockerException, OSError, ConfigError) as error:
            raise StartError("RelayNotStarted", f"The engine refused the relay: {reason(error)}") from error
        return connection

    def _make_network(self) -> None:
        from docker.errors import APIError

        name = network_of(self._home)
        try:
            self._api.inspect_network(name)
        except APIError as error:
            if error.status_code != 404:
                raise
            self._api.create_network(name, driver="bridge", labels={f"{LABEL}.home": self._home})

    def _remove_network(self) -> None:
        from docker.errors import NotFound

        with contextlib.suppress(NotFound):
            self._api.remove_network(network_of(self._home))


class Output:
    """What a container writes, as the engine brings it: its output as a stream of its own, its errors as words."""

    def __init__(self, raw: asyncio.StreamReader) -> None:
        self.stream = asyncio.StreamReader()
        self._raw = raw
        self._said = b""

    @property
    def last_words(self) -> str:
        """What it said last, in one line."""
        return " ".join(self._said.decode("utf-8", "replace").split()) or "its container has ended"

    async def separate(self) -> None:
        """Go on until there is no more. What waits in `stream` is bounded by what the tunnel lets the relay send."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                kind, size = _FRAME.unpack(await self._raw.readexactly(_FRAME.size))
                data = await self._raw.readexactly(size)
                if kind == _STDERR:
                    self._said = (self._said + data)[-_LAST_WORDS:]
                else:
                    self.stream.feed_data(data)
        self.stream.feed_eof()
