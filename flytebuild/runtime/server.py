"""The process: one application on two addresses, from its start to its clean end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import json
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import uvicorn

from flytebuild import engine
from flytebuild.config import Config
from flytebuild.errors import ControlPlaneError
from flytebuild.runtime.app import ControlPlane, assemble
from flytebuild.runtime.container import LOOPBACK, Site
from flytebuild.runtime.credentials import load_or_create
from flytebuild.runtime.executor import DockerExecutor

log = logging.getLogger(__name__)

LOCK_FILE = "lock"
_GRACE_SECONDS = 3


class Server(uvicorn.Server):
    """uvicorn without signal handlers: it would end the process before the containers are removed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to us."""
        yield


async def serve(config: Config) -> None:
    """Serve until SIGTERM or SIGINT; the containers of unfinished runs are removed at the end.

    Raises EngineUnavailableError, and ControlPlaneError when the port or the folder is taken.
    """
    config.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(only_one(config.home, config.port))
        bundle = _read_bundle(config.ca_bundle)
        client = await asyncio.to_thread(engine.connect)
        executor = DockerExecutor(client, config.mirrors, bundle)
        stack.callback(executor.close)
        sockets = stack.enter_context(listen(config.port, await asyncio.to_thread(executor.gateway)))
        if removed := await asyncio.to_thread(executor.remove_leftovers, str(config.home)):
            log.warning("removed %d containers of an earlier control plane that did not end well", removed)
        credentials = load_or_create(config.home)
        site = Site(
            home=str(config.home),
            port=config.port,
            key_id=credentials.key_id,
            key_secret=credentials.key_secret,
            cpus=await asyncio.to_thread(executor.cpus),
            has_ca_bundle=bundle is not None,
        )
        plane = assemble(config.home, site, credentials, executor)
        await stack.enter_async_context(serving(plane, sockets))
        await stop_signal()
        log.warning("stopping")


def _read_bundle(path: Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path else None
    except OSError as error:
        raise ControlPlaneError(
            f"The certificates in `{path}` cannot be read: {error.strerror}",
            hint="`ca_bundle` in the configuration, or `SSL_CERT_FILE`, names that file",
        ) from error


@contextlib.asynccontextmanager
async def serving(plane: ControlPlane, sockets: list[socket.socket]) -> AsyncIterator[None]:
    """Answer requests inside the block; at its end, abort what runs, end the streams and close the connections."""
    settings = uvicorn.Config(
        plane.app,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        # A response in the middle of a download may finish; a stream has ended by itself before.
        timeout_graceful_shutdown=_GRACE_SECONDS,
        timeout_keep_alive=75,
    )
    server = Server(settings)
    task = asyncio.create_task(server.serve(sockets=sockets))
    try:
        yield
    finally:
        await plane.supervisor.aclose()
        plane.ledger.close()
        server.should_exit = True
        await task


@contextlib.contextmanager
def only_one(home: Path, port: int) -> Iterator[None]:
    """Hold the folder's lock, which says who holds it; ControlPlaneError when somebody else does."""
    with (home / LOCK_FILE).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = json.loads(file.read() or "{}")
            raise ControlPlaneError(
                f"A control plane of `{home}` runs already, on port {holder.get('port')}",
                hint="`flytebuild down` stops it",
            ) from None
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "port": port}))
        file.flush()
        yield


@contextlib.contextmanager
def listen(port: int, gateway: str | None) -> Iterator[list[socket.socket]]:
    """Bind the loopback address, and the engine's bridge where that is an address of this machine.

    Never all addresses: whoever reaches this server executes code. Where the engine lives in a virtual machine,
    the bridge is not ours, and `host.docker.internal` leads to the loopback address.
    """
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(_bound(LOOPBACK, port))]
        if gateway:
            try:
                sockets.append(stack.enter_context(_bound(gateway, port)))
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL:
                    raise
                log.warning("the engine's bridge address %s is not on this machine", gateway)
        yield sockets


def _bound(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(512)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise ControlPlaneError(
                f"Port {port} of {address} is taken by another program",
                hint="choose another with `FLYTEBUILD_PORT` or `port` in the configuration",
            ) from error
        raise
    return sock


async def stop_signal() -> None:
    """Wait for SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()
