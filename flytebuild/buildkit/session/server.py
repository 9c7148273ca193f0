"""A gRPC server for one client: BuildKit, at the other end of a stream, which calls what a session offers.

grpcio has servers as well, which spend a tenth of a millisecond on every message. A tree is sent as four messages for
each of its files, so that this would decide how long a transfer takes; here messages that are ready together leave
together. What gRPC is made of on HTTP/2: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from urllib.parse import quote

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from flytebuild.buildkit.session.providers import (
    UNIMPLEMENTED,
    UNKNOWN,
    Provider,
    RefusedCallError,
    StreamProvider,
)
from flytebuild.streams.splice import close

_CHUNK = 256 * 1024
"""Bytes that are read at once, and messages that are sent at once."""

_PREFIX = 5
"""What stands before a message: a byte that says whether it is compressed, and its length in four."""

_CALLS = 1 << 20
"""Calls at the same time: transfers of files take long, and the health check must never wait for one."""

_WINDOW = 1 << 20
"""Bytes of one call that the client may send before it hears that they were taken."""

_BACKLOG = 1 << 24
"""Bytes of one call that may wait for their provider until its client is held up. Who sends a tree takes no requests
before all entries are named, and gets one of a few bytes for every file."""

_LARGEST_WINDOW = (1 << 31) - 1

_GRACE = 1.0
"""Seconds that `close` gives a call that still runs."""

_OK = 0
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


class Server:
    """Serves `providers` on a connected socket from `start` to `close`, every call on a thread of its own.

    `on_loss` is called from one of them when the connection ends before it is closed.
    """

    def __init__(
        self,
        connection: socket.socket,
        providers: Iterable[Provider | StreamProvider],
        *,
        on_loss: Callable[[], None] | None = None,
    ) -> None:
        self._connection = connection
        self._on_loss = on_loss
        self._providers = {provider.method: provider for provider in providers}
        self._http = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._http.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: _CALLS,
                SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
                SettingCodes.ENABLE_PUSH: 0,
            },
        )
        self._calls: dict[int, _Call] = {}
        self._changed = threading.Condition()
        """Guards the two above; told when data may flow again, or a call is gone."""
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=run, daemon=True, name="flytebuild-session") for run in (self._read, self._write)
        ]

    def start(self) -> None:
        """Begin to serve."""
        with self._changed:
            self._http.initiate_connection()
            # A call whose provider is slow has a window of its own to fill up; the others shall not feel it.
            self._http.increment_flow_control_window(_LARGEST_WINDOW - self._http.inbound_flow_control_window)
            self._flush()
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End the connection and with it all calls."""
        self._on_loss = None
        close(self._connection)
        with self._changed:
            running = [call.thread for call in self._calls.values()]
        for thread in (*self._threads, *running):
            thread.join(_GRACE)

    def _read(self) -> None:
        try:
            while data := self._connection.recv(_CHUNK):
                with self._changed:
                    for event in self._http.receive_data(data):
                        self._take(event)
                    self._flush()
                    self._changed.notify_all()
        except (OSError, ProtocolError):
            # The daemon sees a closed connection, and so do the solves that need the session.
            pass
        finally:
            if on_loss := self._on_loss:
                on_loss()
            close(self._connection)
            with self._changed:
                for call in self._calls.values():
                    call.drop()
                self._changed.notify_all()
            self._outgoing.put(None)

    def _write(self) -> None:
        # Apart from the reading: neither side waits for the other then, whatever the socket's buffers hold.
        try:
            while (data := self._outgoing.get()) is not None:
                self._connection.sendall(data)
        except OSError:
            close(self._connection)

    def _flush(self) -> None:
        if data := self._http.data_to_send():
            self._outgoing.put(data)

    def _take(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            call = _Call(event.stream_id, _text(event.headers), self._serve)
            self._calls[call.id] = call
            call.thread.start()
            return
        known = self._calls.get(getattr(event, "stream_id", None) or 0)
        match event:
            case DataReceived():
                if known:
                    known.receive(event.data)
                    known.taken += event.flow_controlled_length
                    self._make_room(known)
                else:
                    self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case StreamEnded() if known:
                known.requests.put(None)
            case StreamReset() if known:
                known.drop()

    def _make_room(self, call: _Call) -> None:
        """Let the client send more, unless too much waits already."""
        if call.taken and call.waiting <= _BACKLOG:
            self._http.acknowledge_received_data(call.taken, call.id)
            call.taken = 0

    def _incoming(self, call: _Call, flush: Callable[[], None]) -> Iterator[bytes]:
        """The requests as they come; `flush` is called before they are waited for. Raises _GoneError."""
        while True:
            if call.requests.empty():
                flush()
            request = call.requests.get()
            if call.is_gone:
                raise _GoneError
            if request is None:
                return
            with self._changed:
                call.waiting -= len(request)
                if call.taken:
                    self._make_room(call)
                    self._flush()
            yield request

    def _serve(self, call: _Call) -> None:
        try:
            self._headers(call, ((":status", "200"), ("content-type", "application/grpc")))
            try:
                self._answer(call)
                code, text = _OK, ""
            except RefusedCallError as refusal:
                code, text = refusal.code, str(refusal)
            except (_GoneError, ProtocolError):
                raise
            except Exception as error:  # noqa: BLE001 - a defect of ours; the solve shall fail with it, and not hang
                code, text = UNKNOWN, f"{call.path} failed: {type(error).__name__}"
            status = (("grpc-status", str(code)), ("grpc-message", quote(text, safe=_PRINTABLE)))
            self._headers(call, status, end=True)
        except (_GoneError, ProtocolError):
            # Nobody waits for the answer any more.
            pass
        finally:
            with self._changed:
                self._calls.pop(call.id, None)

    def _answer(self, call: _Call) -> None:
        provider = self._providers.get(call.path)
        ready = bytearray()

        def flush() -> None:
            if ready:
                self._send(call, bytes(ready))
                ready.clear()

        if provider is None:
            raise RefusedCallError(UNIMPLEMENTED, f"{call.path} is not offered")
        if isinstance(provider, StreamProvider):
            answers = provider.exchange(self._incoming(call, flush), call.metadata)
        else:
            answers = iter([provider.answer(next(self._incoming(call, flush)))])
        for message in answers:
            ready += b"\0" + len(message).to_bytes(_PREFIX - 1, "big")
            ready += message
            if len(ready) >= _CHUNK:
                flush()
        flush()

    def _headers(self, call: _Call, headers: Iterable[tuple[str, str]], *, end: bool = False) -> None:
        with self._changed:
            if call.is_gone:
                raise _GoneError
            self._http.send_headers(call.id, headers, end_stream=end)
            self._flush()

    def _send(self, call: _Call, data: bytes) -> None:
        """Send as much as the client has room for, until that is all. Raises _GoneError."""
        rest = memoryview(data)
        while rest:
            with self._changed:
                while not call.is_gone and self._http.local_flow_control_window(call.id) <= 0:
                    self._changed.wait()
                if call.is_gone:
                    raise _GoneError
                room = min(len(rest), self._http.local_flow_control_window(call.id))
                for start in range(0, room, self._http.max_outbound_frame_size):
                    end = min(start + self._http.max_outbound_frame_size, room)
                    self._http.send_data(call.id, rest[start:end])
                self._flush()
            rest = rest[room:]


class _GoneError(Exception):
    """The client gave a call up, or the connection has ended."""


class _Call:
    """One call: what came of it, and the thread that serves it."""

    def __init__(self, number: int, headers: Mapping[str, list[str]], serve: Callable[[_Call], None]) -> None:
        self.id = number
        self.path = headers[":path"][0]
        self.metadata = headers
        self.requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=serve, args=(self,), daemon=True, name=f"flytebuild-call {self.path}")
        self.is_gone = False
        self.waiting = 0
        """Bytes of requests that nobody has taken yet."""
        self.taken = 0
        """Bytes that the client has not been told of yet that they arrived."""
        self._partial = bytearray()

    def receive(self, data: bytes) -> None:
        """Take bytes of requests, in whatever pieces they come."""
        partial = self._partial
        partial += data
        start = 0
        while len(partial) - start >= _PREFIX:
            end = start + _PREFIX + int.from_bytes(partial[start + 1 : start + _PREFIX], "big")
            if len(partial) < end:
                break
            self.waiting += end - start - _PREFIX
            self.requests.put(bytes(partial[start + _PREFIX : end]))
            start = end
        del partial[:start]

    def drop(self) -> None:
        """Nobody waits for an answer: whatever serves the call ends."""
        self.is_gone = True
        self.requests.put(None)


def _text(headers: Iterable[tuple[object, object]] | None) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in headers or ():
        found.setdefault(str(key), []).append(str(value))
    return found
