"""Services that a session offers: secrets, registry credentials, health.

A provider is one gRPC method: its path and a function from the request's bytes to the answer's, or between streams
of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from msgspec import Struct

from flytebuild.buildkit._pb import session_pb2

UNKNOWN, NOT_FOUND, UNIMPLEMENTED = 2, 5, 12
"""Codes of gRPC for calls that are not served."""

_SERVING = 1


class RefusedCallError(Exception):
    """Raised by a provider that cannot serve a call: one of gRPC's codes, and a sentence that the solve fails with."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class Provider(Protocol):
    """One method that BuildKit calls back."""

    @property
    def method(self) -> str:
        """The method's path, `/service/method`."""

    def answer(self, request: bytes) -> bytes:
        """Serve one call. May raise RefusedCallError."""


@runtime_checkable
class StreamProvider(Protocol):
    """One method that BuildKit calls back with a stream, and that is answered with one."""

    @property
    def method(self) -> str:
        """The method's path, `/service/method`."""

    def exchange(self, requests: Iterator[bytes], metadata: Mapping[str, Sequence[str]]) -> Iterator[bytes]:
        """Serve one call; what is yielded is sent at the speed at which the daemon takes it.

        To ask for the next of `requests` sends what was yielded. May raise RefusedCallError.
        """


class Health(Struct, frozen=True):
    """Answers BuildKit's check of the session every few seconds; without it the session is dropped."""

    method: str = "/grpc.health.v1.Health/Check"

    def answer(self, request: bytes) -> bytes:
        return bytes(session_pb2.HealthCheckResponse(status=_SERVING).SerializeToString())


class Secrets(Struct, frozen=True):
    """Values for secret mounts and variables, by id. They are sent when a step executes, and kept nowhere."""

    values: Mapping[str, bytes]
    method: str = "/moby.buildkit.secrets.v1.Secrets/GetSecret"

    def __repr__(self) -> str:
        return f"Secrets({', '.join(sorted(self.values))})"

    def answer(self, request: bytes) -> bytes:
        identifier = session_pb2.GetSecretRequest.FromString(request).id
        if identifier not in self.values:
            raise RefusedCallError(NOT_FOUND, f"secret {identifier} not found")
        return bytes(session_pb2.GetSecretResponse(data=self.values[identifier]).SerializeToString())


class RegistryCredentials(Struct, frozen=True):
    """Credentials for the registries that BuildKit pulls from and pushes to; `find` knows them by host."""

    find: Callable[[str], tuple[str, str] | None]
    method: str = "/moby.filesync.v1.Auth/Credentials"

    def answer(self, request: bytes) -> bytes:
        username, secret = self.find(session_pb2.CredentialsRequest.FromString(request).host) or ("", "")
        return bytes(session_pb2.CredentialsResponse(username=username, secret=secret).SerializeToString())
