"""Opening a session with BuildKit.

We serve gRPC on a private Unix socket, open a stream to the daemon, and join the two: the daemon becomes the client of
our server. The stream is `POST /session` on the Docker Engine, whose headers name the session and the methods that we
serve (moby `session/session.go`).
"""

from __future__ import annotations

import socket
import tempfile
import threading
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from flytebuild.buildkit.dial import dial, upgrade
from flytebuild.buildkit.session.providers import Health, Provider, StreamProvider
from flytebuild.buildkit.splice import close, splice
from flytebuild.engine import EngineAddress, unavailable

_ID = "X-Docker-Expose-Session-Uuid"
_NAME = "X-Docker-Expose-Session-Name"
_METHOD = "X-Docker-Expose-Session-Grpc-Method"
_WORKERS = 128
"""Calls served at once. A transfer of files occupies one to its end, and the health check must not wait for that."""

_GRACE = 1.0


class Session:
    """One session for one build, shared by its solves; `open` it before the first and `close` it after the last."""

    def __init__(self, address: EngineAddress, providers: Sequence[Provider | StreamProvider]) -> None:
        self.id = uuid.uuid4().hex
        self._address = address
        self._providers = (Health(), *providers)
        self._stream: socket.socket | None = None
        self._threads: list[threading.Thread] = []

    def open(self) -> None:
        """Raises EngineUnavailableError when the engine does not take the session."""
        self._folder = tempfile.TemporaryDirectory(prefix="flytebuild-")
        path = Path(self._folder.name) / "session.sock"
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="flytebuild-session")
        self._server = grpc.server(self._pool)
        self._server.add_generic_rpc_handlers([_handler(provider) for provider in self._providers])
        self._server.add_insecure_port(f"unix:{path}")
        self._server.start()
        local: socket.socket | None = None
        try:
            self._stream = dial(self._address)
            headers = [(_ID, self.id), (_NAME, "flytebuild"), *((_METHOD, item.method) for item in self._providers)]
            upgrade(self._stream, "/session", "h2c", headers)
            local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            local.connect(str(path))
        except BaseException as error:
            for connection in (self._stream, local):
                if connection is not None:
                    close(connection)
            self._stop()
            if isinstance(error, OSError):
                raise unavailable(self._address) from error
            raise
        self._threads = splice(self._stream, local)

    def close(self) -> None:
        """End the session; a build that still needs it fails."""
        if self._stream is not None:
            close(self._stream)
        for thread in self._threads:
            thread.join()
        self._stop()

    def _stop(self) -> None:
        self._server.stop(_GRACE).wait()
        self._pool.shutdown()
        self._folder.cleanup()


def _handler(provider: Provider | StreamProvider) -> grpc.GenericRpcHandler:
    _, service, method = provider.method.split("/")
    if isinstance(provider, StreamProvider):
        handler = grpc.stream_stream_rpc_method_handler(provider.exchange)
    else:
        handler = grpc.unary_unary_rpc_method_handler(provider.answer)
    return grpc.method_handlers_generic_handler(service, {method: handler})
