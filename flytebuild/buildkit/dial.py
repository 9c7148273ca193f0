"""Opening a byte stream to a Docker Engine, and turning an HTTP request on it into one."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterable
from urllib.parse import urlsplit

from flytebuild.engine import EngineAddress
from flytebuild.errors import EngineUnavailableError

DEADLINE = 20.0
"""Seconds for connecting and for the answer to the upgrade."""


def dial(address: EngineAddress) -> socket.socket:
    """A connected socket to the engine's API. Raises OSError, or EngineUnavailableError for an unknown scheme."""
    parts = urlsplit(address.url)
    if parts.scheme == "unix":
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(DEADLINE)
        connection.connect(parts.path)
    elif parts.scheme in ("tcp", "http", "https"):
        port = parts.port or (2376 if address.tls else 2375)
        connection = socket.create_connection((parts.hostname or "localhost", port), DEADLINE)
        # Small messages go back and forth: none shall wait until the one before it is acknowledged.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if address.tls:
            connection = _tls_context(address).wrap_socket(connection, server_hostname=parts.hostname)
    elif parts.scheme == "ssh":
        return _through_ssh(parts.netloc)
    else:
        raise EngineUnavailableError(
            f"Engines at `{parts.scheme}://` addresses are not supported (from {address.source})",
            hint="use a `unix://`, `tcp://` or `ssh://` address",
        )
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


def _tls_context(address: EngineAddress) -> ssl.SSLContext:
    tls = address.tls
    context = ssl.create_default_context(cafile=getattr(tls, "ca_cert", None) or None)
    if tls is not None and not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls is not None and tls.cert:
        context.load_cert_chain(*tls.cert)
    return context


def _through_ssh(target: str) -> socket.socket:
    """The far end of `docker system dial-stdio` on another machine; it ends when the socket is closed."""
    ours, theirs = socket.socketpair()
    with theirs:
        host, _, port = target.partition(":")
        options = ["-p", port] if port else []
        subprocess.Popen(
            ["ssh", "-o", "BatchMode=yes", *options, "--", host, "docker", "system", "dial-stdio"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=subprocess.DEVNULL,
        )
    return ours
