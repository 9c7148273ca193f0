"""Ways of a session to BuildKit: each opens a byte stream on which BuildKit is the client of what we serve.

The headers name the session and the methods that it serves (buildkit `session/session.go`). Closing the stream ends
the session.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import grpc

from flytebuild.buildkit._pb import control_pb2
from flytebuild.buildkit.upgrade import upgrade
from flytebuild.streams.dialler import Dialler
from flytebuild.streams.splice import CHUNK, close

Headers: TypeAlias = Sequence[tuple[str, str]]
OpenSession: TypeAlias = Callable[[Headers], socket.socket]

_METHOD = "/moby.buildkit.v1.Control/Session"
_PATIENCE = 1.0
"""Seconds to wait for BuildKit's first word, or its refusal; one that says nothing yet may speak when it solves."""


def by_upgrade(dialler: Dialler) -> OpenSession:
    """Over a connection to a Docker Engine that becomes the session's. Raises OSError."""

    def open_session(headers: Headers) -> socket.socket:
        stream = dialler.dial()
        try:
            upgrade(stream, "/session", "h2c", headers)
        except BaseException:
            close(stream)
            raise
        return stream

    return open_session


def by_control(channel: grpc.Channel) -> OpenSession:
    """In messages of a call of the control service. Raises grpc.RpcError when it is refused."""

    def open_session(headers: Headers) -> socket.socket:
        ours, far = socket.socketpair()
        metadata = [(name.lower(), value) for name, value in headers]
        call = channel.stream_stream(
            _METHOD,
            request_serializer=lambda data: control_pb2.BytesMessage(data=data).SerializeToString(),
            response_deserializer=control_pb2.BytesMessage.FromString,
        )(_chunks(far), metadata=metadata)
        beginning: queue.SimpleQueue[grpc.RpcError | None] = queue.SimpleQueue()
        pump = threading.Thread(target=_receive, args=(call, far, beginning), daemon=True, name="flytebuild-control")
        pump.start()
        with contextlib.suppress(queue.Empty):
            if refusal := beginning.get(timeout=_PATIENCE):
                ours.close()
                raise refusal
        return ours

    return open_session


def _chunks(far: socket.socket) -> Iterator[bytes]:
    with contextlib.suppress(OSError):
        while data := far.recv(CHUNK):
            yield data


def _receive(call: grpc.Call, far: socket.socket, beginning: queue.SimpleQueue[grpc.RpcError | None]) -> None:
    try:
        for message in call:
            beginning.put(None)
            far.sendall(message.data)
    except grpc.RpcError as error:
        beginning.put(error)
    except OSError:
        # The session was closed.
        pass
    call.cancel()
    close(far)
