"""The process: one application on two addresses, from its start to its clean end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from flytebuild import engine
from flytebuild.config import Config
from flytebuild.errors import ControlPlaneError, EngineUnavailableError
from flytebuild.runtime import home, identity, own_storage
from flytebuild.runtime.addresses import HOST_NAME
from flytebuild.runtime.admission import Capacity
from flytebuild.runtime.again import prepare_nothing
from flytebuild.runtime.app import ControlPlane, assemble
from flytebuild.runtime.container import OrderError, Site
from flytebuild.runtime.credentials import load_or_create
from flytebuild.runtime.dispatcher import IS_OWNER
from flytebuild.runtime.docker_executor import DockerExecutor
from flytebuild.runtime.executor import StartError, Survivors
from flytebuild.runtime.listening import listen, private_socket
from flytebuild.runtime.own_storage import OwnStorage
from flytebuild.runtime.passes import Passes
from flytebuild.runtime.peers import is_known, is_owner
from flytebuild.runtime.relay import Relay, network_of
from flytebuild.runtime.relayed import RelayedExecutor
from flytebuild.runtime.remote_store import open_store
from flytebuild.runtime.retention import KEEP_DAYS, expire
from flytebuild.runtime.upkeep import keep_up
from flytebuild.runtime.warm.ahead import AheadExecutor
from flytebuild.runtime.warm.executor import WarmExecutor

log = logging.getLogger(__name__)

_GRACE_SECONDS = 3
_RECEIVED = 1024 << 10
"""Bytes that are received at a time."""


class Connection(HttpToolsProtocol, asyncio.BufferedProtocol):
    """A connection of which it is known whether the owner's process is at its other end.

    What is received goes through one buffer that all connections share: it is read at once, and bodies are large.
    """

    _buffer = memoryview(bytearray(_RECEIVED))

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Read those that have come."""
        self.data_received(self._buffer[:nbytes])  # type: ignore[arg-type]  # any buffer is read

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Find out while the other side still has it."""
        super().connection_made(transport)
        peer, here = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        # What has no address comes through the relay, from a container.
        is_ours = isinstance(peer, tuple) and is_owner(peer[:2], here[:2])
        self.app_state = {**self.app_state, IS_OWNER: is_ours}


class Server(uvicorn.Server):
    """uvicorn without signal handlers: it would end the process before the containers are removed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to us."""
        yield


async def serve(config: Config) -> None:
    """Serve until SIGTERM or SIGINT; the containers of unfinished runs are removed at the end.

    Raises EngineUnavailableError, UsageError when the folder or the store cannot be used, and ControlPlaneError when
    the port or the folder is taken, or when the server ends by itself.
    """
    identifier = home.make(config.home)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(home.hold(config.home, config.port))
        bundle = identity.read_bundle(config.ca_bundle)
        fingerprint = identity.fingerprint(config, bundle)
        address = engine.locate()
        store, storage = open_store(config), own_storage.configured(config)
        if storage and not address.is_here:
            storage.check_reach(address.shown)
        client = await asyncio.to_thread(engine.connect)
        executor = DockerExecutor(client, config.mirrors, bundle, home=identifier)
        stack.callback(executor.close)
        gateway, capacity = await asyncio.to_thread(_look_at, executor)
        sockets = stack.enter_context(listen(config.port, gateway if address.is_here else None))
        relay = None
        if not address.is_here:
            door, path = stack.enter_context(private_socket())
            sockets.append(door)
            relay = Relay(
                client.api,
                executor.requests,
                executor.containers,
                address,
                path,
                home=identifier,
                port=config.port,
            )
            stack.push_async_callback(relay.aclose)
        ahead = AheadExecutor(executor)
        stack.push_async_callback(ahead.aclose)
        warm = WarmExecutor(executor, ahead, starts=max((capacity.cpu or 0) // 1000, 2))
        stack.push_async_callback(warm.aclose)
        containers = RelayedExecutor(warm, executor, relay) if relay else warm
        if not is_known():
            log.warning("this system does not tell whose a connection is: all users of this machine count as the owner")
        credentials = load_or_create(config.home)
        # Containers whose objects are elsewhere need not ask us for anything.
        silence = 0 if storage else config.contact_timeout
        site = Site(
            home=identifier,
            port=config.port,
            passes=Passes(credentials.pass_secret),
            cpus=(capacity.cpu or 0) // 1000,
            has_ca_bundle=bundle is not None,
            is_warm=config.warm,
            storage=partial(_lent, storage) if storage else None,
            network=network_of(identifier) if relay else "",
        )
        plane = assemble(
            config.home,
            site,
            credentials,
            containers,
            fingerprint,
            capacity,
            silence=silence,
            store=store,
            labels=executor.labels,
            prepare=containers.prepare if isinstance(containers, RelayedExecutor) else prepare_nothing,
        )
        ahead.calls.recall(plane.earlier_calls())
        if expired := await asyncio.to_thread(expire, config.home, time.time(), _kept(plane)):
            log.warning("removing %d folders of runs that are older than %d days", expired, KEEP_DAYS)
        await _resume(plane, containers)
        ended = await stack.enter_async_context(serving(plane, sockets))
        await stop_signal(ended)
        log.warning("stopping")


def _lent(storage: OwnStorage) -> Mapping[str, str]:
    """What containers need to reach the store of the user's own. Raises OrderError."""
    try:
        return storage.reached_by(HOST_NAME).variables(own_storage.find_key(os.environ))
    except own_storage.CredentialsMissingError as error:
        raise OrderError(f"There are no credentials for `{storage.base}`: {error}") from error


def _look_at(executor: DockerExecutor) -> tuple[str | None, Capacity]:
    """The engine's bridge, and what the engine has for containers."""
    from docker.errors import DockerException

    try:
        return executor.gateway(), executor.capacity()
    except (DockerException, OSError) as error:
        raise _refused(error) from error


async def _resume(plane: ControlPlane, survivors: Survivors) -> None:
    """Take up what an earlier control plane of the folder left when it was killed."""
    try:
        resumed, unknown = await plane.supervisor.resume(survivors)
        plane.conditions.resume()
    except StartError as error:
        raise _refused(error) from error
    if resumed or unknown:
        log.warning("an earlier control plane did not end well: %d actions go on", resumed)
        log.warning("%d containers that it left belong to none of them and are removed", unknown)


def _refused(error: Exception) -> EngineUnavailableError:
    return EngineUnavailableError(
        f"The Docker Engine answered once and then refused: {error}", hint="`docker info` shows how it is"
    )


def _kept(plane: ControlPlane) -> frozenset[str]:
    """The names of the folders that stay whatever their age: of runs under way, and of cached results."""
    live = {action.key.run for action in plane.ledger.unfinished()}
    folders = {plane.ledger.run(name).folder for name in live}
    return frozenset(live | folders) | plane.database.cached_folders()


@contextlib.asynccontextmanager
async def serving(plane: ControlPlane, sockets: list[socket.socket]) -> AsyncIterator[asyncio.Future[None]]:
    """Answer requests inside the block; at its end, abort what runs, end the streams and close the connections.

    The value is done when the server has ended by itself. Raises ControlPlaneError when it did so.
    """
    settings = uvicorn.Config(
        plane.app,
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        # A response in the middle of a download may finish; a stream has ended by itself before.
        timeout_graceful_shutdown=_GRACE_SECONDS,
        timeout_keep_alive=75,
    )
    server = Server(settings)
    task = asyncio.create_task(_run(server, sockets))
    upkeep = asyncio.create_task(keep_up(plane))
    try:
        yield task
    finally:
        upkeep.cancel()
        await plane.supervisor.aclose()
        plane.ledger.close()
        plane.web.close()
        server.should_exit = True
        try:
            await task
        finally:
            plane.database.close()


async def _run(server: Server, sockets: list[socket.socket]) -> None:
    """Run uvicorn until it is told to end."""
    reason = "it ended by itself"
    try:
        await server.serve(sockets=sockets)
    # uvicorn ends the process by SystemExit where it cannot start.
    except (Exception, SystemExit) as error:
        log.exception("the server died")
        reason = f"{type(error).__name__}: {error}"
    if not server.should_exit:
        raise ControlPlaneError(f"The control plane's server has stopped: {reason}")


async def stop_signal(ended: asyncio.Future[None]) -> None:
    """Wait for SIGTERM or SIGINT, or until the server has `ended` by itself."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    ended.add_done_callback(lambda _: stopped.set())
    await stopped.wait()
