"""Doors to the real BuildKit of the engine, of the kinds that it does not have itself.

The reference engine hands its BuildKit out by an upgrade of HTTP only. A door takes connections of another kind, and
joins each with a fresh upgrade, so that behind it is the real thing.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from flytebuild.buildkit.upgrade import upgrade
from flytebuild.engine import EngineAddress
from flytebuild.streams import tls
from flytebuild.streams.dial import dial
from flytebuild.streams.splice import close, splice

Dial = Callable[[], socket.socket]


@dataclass(frozen=True)
class Engine:
    """The real engine, whatever `DOCKER_HOST` comes to say."""

    address: EngineAddress

    def api(self) -> socket.socket:
        """Its API."""
        return dial(self.address)

    def buildkit(self) -> socket.socket:
        """Raw HTTP/2 to its BuildKit."""
        connection = self.api()
        upgrade(connection, "/grpc", "h2c")
        return connection


@contextmanager
def door(listener: socket.socket, serve: Callable[[socket.socket], None]) -> Iterator[None]:
    """Give every connection to `serve`, as long as this is open."""
    taken: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                taken.append(connection)
                threading.Thread(target=guarded, args=(connection,), daemon=True).start()

    def guarded(connection: socket.socket) -> None:
        try:
            serve(connection)
        except OSError:
            close(connection)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield
    finally:
        for connection in (listener, *taken):
            close(connection)
        thread.join()


def joined(far: Dial) -> Callable[[socket.socket], None]:
    """Serve by joining with what `far` opens."""

    def serve(connection: socket.socket) -> None:
        splice(connection, far())

    return serve


@contextmanager
def unix_door(path: Path, far: Dial) -> Iterator[Path]:
    """A door at a Unix socket."""
    with unix_listener(path) as listener, door(listener, joined(far)):
        yield path


@contextmanager
def unix_listener(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        yield listener


@dataclass(frozen=True)
class Authority:
    """A certificate authority of a test, and the files of those that it has certified."""

    folder: Path
    ca: trustme.CA

    @classmethod
    def made(cls, folder: Path) -> Authority:
        folder.mkdir()
        made = cls(folder, trustme.CA())
        made.ca.cert_pem.write_to_path(str(made.file))
        return made

    @property
    def file(self) -> Path:
        return self.folder / "ca.pem"

    def certify(self, name: str) -> tuple[Path, Path]:
        """A certificate and its key."""
        issued = self.ca.issue_cert(name)
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}-key.pem"
        certificate.write_bytes(b"".join(item.bytes() for item in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(key))
        return certificate, key


@contextmanager
def tls_door(authority: Authority, far: Dial, name: str = "localhost") -> Iterator[int]:
    """A door at a TCP port for those whom the authority has certified; it shows a certificate for `name`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.file)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(*authority.certify(name))
    context.set_alpn_protocols(["h2"])

    def serve(connection: socket.socket) -> None:
        splice(tls.inside(connection, context, None, lambda _: None), far())

    with socket.create_server(("127.0.0.1", 0)) as listener, door(listener, serve):
        yield listener.getsockname()[1]


@contextmanager
def direct_engine(path: Path, far: Dial) -> Iterator[str]:
    """An engine as of API 1.53: a socket that takes HTTP/1.1 and gRPC; the first only to tell that version."""

    def serve(connection: socket.socket) -> None:
        if connection.recv(4, socket.MSG_PEEK | socket.MSG_WAITALL) == b"PRI ":
            splice(connection, far())
            return
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nApi-Version: 1.53\r\nContent-Length: 2\r\n\r\nOK")

    with unix_listener(path) as listener, door(listener, serve):
        yield f"unix://{path}"


_JOIN = """#!{python} -IS
import socket, sys, threading
if sys.argv[1:] != {expected!r}:
    sys.exit(f"what is {{sys.argv}}?")
far = socket.socket(socket.AF_UNIX)
far.connect({door!r})

def back():
    while data := far.recv(65536):
        sys.stdout.buffer.raw.write(data)
    sys.stdout.buffer.raw.close()

threading.Thread(target=back, daemon=True).start()
while data := sys.stdin.buffer.raw.read(65536):
    far.sendall(data)
far.close()
"""


def put_program(folder: Path, name: str, expected: Sequence[str], door: Path) -> None:
    """A program that takes these arguments and no others, and joins its input and output with a door."""
    script = folder / name
    script.write_text(_JOIN.format(python=sys.executable, expected=list(expected), door=str(door)))
    script.chmod(0o755)
