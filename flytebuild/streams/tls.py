"""TLS: what we trust and show, a socket of what is inside a TLS connection, and why one cannot be had."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

from flytebuild.streams.splice import CHUNK, close

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""What an HTTP/2 client says first (RFC 9113 section 3.4); a server answers with its settings."""


def client_context(ca: str | Path | None, certificate: str | Path | None, key: str | Path | None) -> ssl.SSLContext:
    """Trust in `ca`, or else in what the system trusts. Raises OSError, of which ssl.SSLError is one, for bad files."""
    context = ssl.create_default_context(cafile=ca)
    if certificate:
        context.load_cert_chain(certificate, key)
    return context


def inside(
    outer: socket.socket, context: ssl.SSLContext, name: str | None, failed: Callable[[str], None]
) -> socket.socket:
    """A socket of what a TLS connection carries; both end together. The caller sets the deadline of the handshake.

    `name` is the server's; without one we are the server. What ends the connection later is told to `failed`. Raises
    OSError when the handshake fails. Not an `ssl.SSLSocket`, since two threads, one that reads and one that writes,
    must not use one at the same time.
    """
    tunnel = _Tunnel(outer, context, name)
    tunnel.shake_hands()
    outer.settimeout(None)
    ours, inner = socket.socketpair()
    for work in (tunnel.receive, tunnel.send):
        threading.Thread(target=_run, args=(work, inner, outer, failed), daemon=True, name="flytebuild-tls").start()
    return ours


def diagnose(host: str, port: int, context: ssl.SSLContext, name: str, deadline: float) -> str:
    """Why no HTTP/2 server can be talked to by TLS there; nothing if one can."""
    try:
        with socket.create_connection((host, port), deadline) as plain:
            context.set_alpn_protocols(["h2"])
            with context.wrap_socket(plain, server_hostname=name) as secured:
                # A server looks at our certificate after we take the handshake for done, and says so to who reads.
                secured.sendall(_PREFACE)
                return "" if secured.recv(1) else "the connection was closed"
    except ssl.SSLError as error:
        return reason(error)
    except OSError as error:
        return error.strerror or str(error)


def system_authorities() -> Path | None:
    """The file of the authorities that the system trusts, for libraries that would bring their own."""
    paths = ssl.get_default_verify_paths()
    return Path(paths.cafile) if paths.cafile else None


def words(error: ssl.SSLError) -> str:
    """What OpenSSL calls an error."""
    return (error.reason or str(error)).replace("_", " ").lower()


def reason(error: ssl.SSLError) -> str:
    """Why a connection failed, as seen from here."""
    said = words(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if "alert" in said:
        return f"it refuses our certificate ({said})"
    return f"it does not speak TLS as we do ({said})"


def _run(
    work: Callable[[socket.socket], None], inner: socket.socket, outer: socket.socket, failed: Callable[[str], None]
) -> None:
    try:
        work(inner)
    except ssl.SSLError as error:
        failed(reason(error))
    except OSError:
        # The other direction has ended, and this one with it.
        pass
    close(inner)
    close(outer)


class _Tunnel:
    """The state of one TLS connection, and the turns in which two threads use it."""

    def __init__(self, outer: socket.socket, context: ssl.SSLContext, name: str | None) -> None:
        self._outer = outer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=name is None, server_hostname=name)
        self._state = threading.Lock()
        self._sending = threading.Lock()

    def shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
                self._flush()
                return
            except ssl.SSLWantReadError:
                self._flush()
                self._take(self._outer.recv(CHUNK))
            except ssl.SSLError:
                # The other side is told why.
                with contextlib.suppress(OSError):
                    self._flush()
                raise

    def receive(self, inner: socket.socket) -> None:
        while True:
            while plain := self._read():
                inner.sendall(plain)
            if self._outgoing.pending:
                self._flush()
            data = self._outer.recv(CHUNK)
            if not data:
                return
            with self._state:
                self._take(data)

    def send(self, inner: socket.socket) -> None:
        while data := inner.recv(CHUNK):
            with self._state:
                self._tls.write(data)
            self._flush()

    def _read(self) -> bytes:
        with self._state:
            try:
                return self._tls.read(CHUNK)
            except ssl.SSLWantReadError:
                return b""

    def _take(self, data: bytes) -> None:
        if not data:
            raise ConnectionResetError("the connection was closed during the handshake")
        self._incoming.write(data)

    def _flush(self) -> None:
        # What is taken first is sent first; the state is free meanwhile.
        with self._sending:
            with self._state:
                data = self._outgoing.read()
            self._outer.sendall(data)
