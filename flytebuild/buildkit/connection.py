"""A connection to a BuildKit: calls of its control service, and sessions."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import grpc
from google.protobuf.message import Message
from msgspec import Struct

from flytebuild.buildkit._pb import control_pb2
from flytebuild.buildkit.address import Address, unanswered
from flytebuild.buildkit.session_stream import Headers
from flytebuild.buildkit.transport import Transport, to_daemon, to_engine
from flytebuild.engine import EngineAddress
from flytebuild.errors import EngineUnavailableError
from flytebuild.spec.images import Platform
from flytebuild.streams.dial import DEADLINE

CONTROL = "/moby.buildkit.v1.Control/"
_SNAPSHOTTER = "org.mobyproject.buildkit.worker.snapshotter"
_LAST_ERROR = re.compile(
    r"^.*last error: [A-Z_]+: \S+: (connect failed: addr: \S+ error: |Failed to connect to remote host: )?", re.DOTALL
)
"""What grpcio says before the reason."""

Answer = TypeVar("Answer", bound=Message)


class Worker(Struct, frozen=True):
    """What BuildKit says of itself: the platforms that it runs, its own first, and whether it has containerd's store.

    Only with containerd's store can a Docker Engine push, keep layers lazy, export caches, and merge layers: without
    it, all layers of what was merged become one.
    """

    platforms: tuple[Platform, ...]
    has_containerd_store: bool

    @property
    def platform(self) -> Platform:
        """The one that needs no emulation."""
        return self.platforms[0]


@dataclass
class Connection:
    """One channel for a whole build; close it when every solve has ended."""

    address: Address
    channel: grpc.Channel
    _transport: Transport

    @classmethod
    def open(cls, address: Address) -> Connection:
        """Connect to the BuildKit at `address`; of an engine it asks the version, of others nothing yet.

        Raises EngineUnavailableError when an engine does not answer, ConfigError for certificates that cannot be used.
        """
        transport = to_engine(address) if isinstance(address, EngineAddress) else to_daemon(address)
        return cls(address, transport.channel, transport)

    def close(self) -> None:
        """Close the channel; solves that still run are cancelled by it, and programs that carry it end."""
        self._transport.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open_session(self, headers: Headers) -> socket.socket:
        """A stream on which BuildKit is the client of what we serve; `headers` name the session and its methods.

        Raises EngineUnavailableError when BuildKit does not take it.
        """
        try:
            return self._transport.open_session(headers)
        except grpc.RpcError as error:
            raise self.failure(error) from error
        except OSError as error:
            raise unanswered(self.address, self._transport.complaint() or str(error)) from error

    def worker(self) -> Worker:
        """Ask BuildKit what it is. Raises EngineUnavailableError when it does not answer."""
        answer = self.ask("ListWorkers", control_pb2.ListWorkersRequest(), control_pb2.ListWorkersResponse)
        record = answer.record[0] if answer.record else None
        if record is None or not record.platforms:
            raise EngineUnavailableError("BuildKit answers, but has no worker", hint="look at its log")
        platforms = dict.fromkeys(Platform(item.os, item.architecture, item.variant) for item in record.platforms)
        return Worker(tuple(platforms), _SNAPSHOTTER in record.labels)

    def ask(self, method: str, request: Message, answer: type[Answer]) -> Answer:
        """Call a method of the control service that answers soon. Raises EngineUnavailableError."""
        try:
            return cast(Answer, self.unary(method, answer)(request, timeout=DEADLINE))
        except grpc.RpcError as error:
            raise self.failure(error) from error

    def failure(self, error: grpc.RpcError) -> EngineUnavailableError:
        """What it means that a call failed which never does where BuildKit can be used."""
        said = {
            grpc.StatusCode.UNAVAILABLE: _LAST_ERROR.sub("", error.details() or ""),
            grpc.StatusCode.DEADLINE_EXCEEDED: f"it says nothing for {DEADLINE:.0f} seconds",
        }
        if error.code() in said:
            return unanswered(self.address, self._transport.complaint() or said[error.code()])
        return EngineUnavailableError(
            f"The BuildKit at `{self.address.shown}` (from {self.address.source}) cannot be used: {error.details()}",
            hint="update it; flytebuild is tested with Docker Engine 26.1",
        )

    def unary(self, method: str, answer: type[Answer]) -> Any:
        """A callable for a method of the control service with one answer."""
        return self.channel.unary_unary(
            CONTROL + method,
            request_serializer=_serialize,
            response_deserializer=answer.FromString,
        )

    def stream(self, method: str, answer: type[Answer]) -> Any:
        """A callable for a method of the control service with a stream of answers."""
        return self.channel.unary_stream(
            CONTROL + method,
            request_serializer=_serialize,
            response_deserializer=answer.FromString,
        )


def _serialize(message: Message) -> bytes:
    return bytes(message.SerializeToString())
