"""Opening byte streams to a Docker Engine, and turning an HTTP request on one into a stream."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from flytebuild.buildkit import tls
from flytebuild.engine import EngineAddress, by_ssh
from flytebuild.streams.dialler import Dialler

DEADLINE = 20.0
"""Seconds for connecting and for the answer to the upgrade."""


def dialler(address: EngineAddress) -> Dialler:
    """What opens connections to an engine's API. Raises ConfigError for an address that `ssh` cannot be given."""
    if address.url.startswith("ssh://"):
        return by_ssh(address)
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
                connection = tls.inside(connection, _tls_context(address), parts.hostname or "localhost", failed)
            except ssl.SSLError as error:
                connection.close()
                raise ConnectionError(tls.reason(error)) from error
            except OSError:
                connection.close()
                raise
    connection.settimeout(None)
    return connection


def upgrade(connection: socket.socket, path: str, protocol: str, headers: Iterable[tuple[str, str]] = ()) -> None:
    """Send `POST path` with `Upgrade: protocol`; the socket carries that protocol when this returns.

    Raises ConnectionError when the engine answers anything but 101.
    """
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: docker",
        "Connection: Upgrade",
        f"Upgrade: {protocol}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    connection.settimeout(DEADLINE)
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    answer = bytearray()
    while not answer.endswith(b"\r\n\r\n"):
        # One byte at a time: what follows the blank line belongs to the new protocol already.
        byte = connection.recv(1)
        if not byte or len(answer) > 65536:
            raise ConnectionError(f"the engine closed the connection while upgrading {path}")
        answer += byte
    status = answer.split(b"\r\n", 1)[0].decode("latin-1")
    if " 101 " not in f"{status} ":
        raise ConnectionError(f"the engine answers {path} with `{status}`")
    connection.settimeout(None)


def ask_version(connection: socket.socket) -> tuple[int, ...]:
    """The version of the API that an engine speaks, `(1, 45)`. Raises OSError, as for an answer that has none."""
    connection.settimeout(DEADLINE)
    client = http.client.HTTPConnection("docker")
    client.sock = connection
    try:
        client.request("GET", "/_ping")
        answer = client.getresponse()
        version = answer.getheader("Api-Version", "")
        answer.read()
    except http.client.HTTPException as error:
        raise ConnectionError(f"what answers is no Docker Engine ({type(error).__name__})") from error
    finally:
        client.close()
    if not version:
        raise ConnectionError(f"what answers is no Docker Engine (status {answer.status}, without an API version)")
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _tls_context(address: EngineAddress) -> ssl.SSLContext:
    config = address.tls
    certificate, key = getattr(config, "cert", None) or (None, None)
    context = tls.client_context(getattr(config, "ca_cert", None) or None, certificate, key)
    if config is not None and not config.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
