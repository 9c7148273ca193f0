"""A gRPC channel to the BuildKit inside a Docker Engine.

Engines before API 1.53 hand out their BuildKit through `POST /grpc` with an upgrade to HTTP/2; later ones speak gRPC
on the API's own address (moby `api/docs/CHANGELOG.md`).
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc

from flytebuild.buildkit._pb import control_pb2
from flytebuild.buildkit.dial import dial, upgrade
from flytebuild.buildkit.splice import Bridge
from flytebuild.engine import EngineAddress, unavailable
from flytebuild.errors import EngineUnavailableError

CONTROL = "/moby.buildkit.v1.Control/"
_DIRECT_SINCE = (1, 53)
_DEADLINE = 20.0
_SNAPSHOTTER = "org.mobyproject.buildkit.worker.snapshotter"
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
    # Go's servers accept the socket's path as authority, proxies may not.
    ("grpc.default_authority", "localhost"),
)

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Worker:
    """What BuildKit says of itself: whether it shares containerd's store.

    Only with containerd's store can it push, keep layers lazy, export caches, and merge layers: without it, all layers
    of what was merged become one.
    """

    has_containerd_store: bool


@dataclass
class Connection:
    """One channel for a whole build; close it when every solve has ended."""

    address: EngineAddress
    channel: grpc.Channel
    _bridge: Bridge | None = field(default=None)

    @classmethod
    def open(cls, address: EngineAddress, api_version: str) -> Connection:
        """Connect to the engine at `address`, which has told its API version. Makes no call yet."""
        if _parse_version(api_version) >= _DIRECT_SINCE and address.url.startswith("unix://"):
            target = address.url.replace("unix://", "unix:", 1)
            return cls(address, grpc.insecure_channel(target, options=_OPTIONS))
        bridge = Bridge(lambda: _hijack_grpc(address))
        return cls(address, grpc.insecure_channel(bridge.target, options=_OPTIONS), bridge)

    def close(self) -> None:
        """Close the channel; solves that still run are cancelled by it."""
        self.channel.close()
        if self._bridge:
            self._bridge.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def worker(self) -> Worker:
        """Ask BuildKit what it is. Raises EngineUnavailableError when it does not answer."""
        try:
            answer = self.unary("ListWorkers", control_pb2.ListWorkersResponse)(
                control_pb2.ListWorkersRequest(), timeout=_DEADLINE
            )
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise unavailable(self.address) from error
            raise EngineUnavailableError(
                f"The BuildKit of the engine at `{self.address.url}` cannot be used: {error.details()}",
                hint="update the engine; flytebuild is tested with Docker Engine 26.1",
            ) from error
        if not answer.record:
            raise EngineUnavailableError("BuildKit answers, but has no worker", hint="look at the engine's log")
        return Worker(has_containerd_store=_SNAPSHOTTER in answer.record[0].labels)

    def unary(self, method: str, answer: type[Answer]) -> Any:
        """A callable for a method of the control service with one answer."""
        return self.channel.unary_unary(
            CONTROL + method,
            request_serializer=_serialize,
            response_deserializer=answer.FromString,  # type: ignore[attr-defined]
        )

    def stream(self, method: str, answer: type[Answer]) -> Any:
        """A callable for a method of the control service with a stream of answers."""
        return self.channel.unary_stream(
            CONTROL + method,
            request_serializer=_serialize,
            response_deserializer=answer.FromString,  # type: ignore[attr-defined]
        )


def _serialize(message: Any) -> bytes:
    return bytes(message.SerializeToString())


def _hijack_grpc(address: EngineAddress) -> socket.socket:
    connection = dial(address)
    try:
        upgrade(connection, "/grpc", "h2c")
    except BaseException:
        connection.close()
        raise
    return connection


def _parse_version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())
