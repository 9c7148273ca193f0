"""What is asked over a byte stream to a Docker Engine: its version, and to turn a request into a stream."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterable

from flytebuild.streams.dial import DEADLINE


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
