"""Opening byte streams to a Docker Engine or through a program, and turning an HTTP request on one into a stream."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from flytebuild.buildkit import tls
from flytebuild.buildkit.address import ssh_command
from flytebuild.buildkit.program import Program
from flytebuild.engine import EngineAddress
from flytebuild.errors import ConfigError

DEADLINE = 20.0
"""Seconds for connecting and for the answer to the upgrade."""


class Dialler:
    """Opens connections one after the other, and knows what became of the last one."""

    def __init__(self, dial: Callable[[Dialler], socket.socket]) -> None:
        self._dial = dial
        self._programs: list[Program] = []
        self._failure = ""

    def dial(self) -> socket.socket:
        """A connected socket. Raises OSError."""
        self._failure = ""
        try:
            return self._dial(self)
        except OSError as error:
            self.fail(error.strerror or str(error))
            raise

    def run(self, command: Iterable[str]) -> socket.socket:
        """The standard input and output of a program, which ends with the connection."""
        command = tuple(command)
        try:
            program = Program(command)
        except OSError as error:
            raise OSError(error.errno, f"`{command[0]}` cannot be started ({error.strerror})") from error
        self._programs.append(program)
        return program.socket

    def fail(self, reason: str) -> None:
        """Note why the last connection ended."""
        self._failure = reason

    def complaint(self) -> str:
        """Why the last connection failed, as far as that is known."""
        return self._failure or (self._programs[-1].complaint() if self._programs else "")

    def join(self) -> None:
        """Wait for the ends of programs whose connections are closed."""
        for program in self._programs:
            program.join()


def dialler(address: EngineAddress) -> Dialler:
    """What opens connections to an engine's API. Raises ConfigError for an address that `ssh` cannot be given."""
    if not address.url.startswith("ssh://"):
        return Dialler(lambda made: dial(address, made.fail))
    place = urlsplit(address.url).path.rstrip("/")
    remote = ("docker", *(("--host", f"unix://{place}") if place else ()), "system", "dial-stdio")
    try:
        command = ssh_command(address.url, *remote)
    except ValueError as error:
        raise ConfigError(f"`{address.shown}` (from {address.source}) cannot be used: {error}") from error
    return Dialler(lambda made: made.run(command))


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
