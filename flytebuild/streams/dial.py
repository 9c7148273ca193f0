"""Opening byte streams to a Docker Engine."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flytebuild.errors import ConfigError
from flytebuild.streams import tls
from flytebuild.streams.dialler import Dialler
from flytebuild.streams.ssh import ssh_command

if TYPE_CHECKING:
    from flytebuild.engine import EngineAddress

DEADLINE = 20.0
"""Seconds for connecting, and for the first answer."""


def dialler(address: EngineAddress) -> Dialler:
    """What opens connections to an engine's API. Raises ConfigError for an address that `ssh` cannot be given."""
    if address.url.startswith("ssh://"):
        return _by_ssh(address)
    return Dialler(lambda made: dial(address, made.fail))


def dial(address: EngineAddress, failed: Callable[[str], None] = lambda _: None) -> socket.socket:
    """A connected socket to the API of an engine that is at a `unix://` or `tcp://` address.

    What ends a TLS connection later is told to `failed`. Raises OSError.
    """
    parts = urlsplit(address.url)
    if parts.scheme == "unix":
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(DEADLINE)
        try:
            connection.connect(parts.path)
        except OSError:
            connection.close()
            raise
    else:
        port = parts.port or (2376 if address.tls else 2375)
        connection = socket.create_connection((parts.hostname or "localhost", port), DEADLINE)
        # Small messages go back and forth: none shall wait until the one before it is acknowledged.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if address.tls:
            try:
                connection = tls.inside(connection, _context(address), parts.hostname or "localhost", failed)
            except ssl.SSLError as error:
                connection.close()
                raise ConnectionError(tls.reason(error)) from error
            except OSError:
                connection.close()
                raise
    connection.settimeout(None)
    return connection


def _by_ssh(address: EngineAddress) -> Dialler:
    """What opens connections to the API of an engine at an `ssh://` address, as `docker` does, which is there as well.

    Raises ConfigError for an address that `ssh` cannot be given.
    """
    place = urlsplit(address.url).path.rstrip("/")
    remote = ("docker", *(("--host", f"unix://{place}") if place else ()), "system", "dial-stdio")
    try:
        command = ssh_command(address.url, *remote)
    except ValueError as error:
        raise ConfigError(f"`{address.shown}` (from {address.source}) cannot be used: {error}") from error
    return Dialler(lambda made: made.run(command))


def _context(address: EngineAddress) -> ssl.SSLContext:
    config = address.tls
    certificate, key = getattr(config, "cert", None) or (None, None)
    context = tls.client_context(getattr(config, "ca_cert", None) or None, certificate, key)
    if config is not None and not config.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
