"""Where the control plane listens: on addresses that nobody else has, and on a socket that nobody else reaches."""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from flytebuild.errors import ControlPlaneError
from flytebuild.runtime.addresses import LOOPBACK

log = logging.getLogger(__name__)

_WAITING = 512
"""Connections that may wait to be accepted."""


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
    # Only where the protocol is named does asyncio send small answers at once, and each is small: otherwise it waits
    # up to 40 ms for the other side's acknowledgement.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(_WAITING)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise ControlPlaneError(
                f"Port {port} of {address} is taken by another program",
                hint="choose another with `FLYTEBUILD_PORT` or `port` in the configuration",
            ) from error
        if error.errno == errno.EADDRNOTAVAIL:
            raise
        raise ControlPlaneError(
            f"Port {port} of {address} cannot be served: {error.strerror}",
            hint="choose another with `FLYTEBUILD_PORT` or `port` in the configuration",
        ) from error
    return sock


@contextlib.contextmanager
def private_socket() -> Iterator[tuple[socket.socket, Path]]:
    """A listener that only its owner can reach, and its path."""
    with TemporaryDirectory(prefix="flytebuild-") as folder, socket.socket(socket.AF_UNIX) as listener:
        path = Path(folder, "relay")
        listener.bind(str(path))
        listener.listen(_WAITING)
        listener.setblocking(False)
        yield listener, path
