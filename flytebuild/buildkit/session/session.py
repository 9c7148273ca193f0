"""Opening a session with BuildKit.

We open a stream to the daemon, and it becomes the client of what we serve at our end. The stream is `POST /session` on
the Docker Engine, whose headers name the session and the methods that we serve (moby `session/session.go`).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from flytebuild.buildkit.dial import dial, upgrade
from flytebuild.buildkit.session.providers import Health, Provider, StreamProvider
from flytebuild.buildkit.session.server import Server
from flytebuild.engine import EngineAddress, unavailable

_ID = "X-Docker-Expose-Session-Uuid"
_NAME = "X-Docker-Expose-Session-Name"
_METHOD = "X-Docker-Expose-Session-Grpc-Method"


class Session:
    """One session for one build, shared by its solves; `open` it before the first and `close` it after the last."""

    def __init__(self, address: EngineAddress, providers: Sequence[Provider | StreamProvider]) -> None:
        self.id = uuid.uuid4().hex
        self._address = address
        self._providers = (Health(), *providers)
        self._server: Server | None = None

    def open(self) -> None:
        """Raises EngineUnavailableError when the engine does not take the session."""
        headers = [(_ID, self.id), (_NAME, "flytebuild"), *((_METHOD, item.method) for item in self._providers)]
        try:
            stream = dial(self._address)
            try:
                upgrade(stream, "/session", "h2c", headers)
            except BaseException:
                stream.close()
                raise
        except OSError as error:
            raise unavailable(self._address) from error
        self._server = Server(stream, self._providers)
        self._server.start()

    def close(self) -> None:
        """End the session; a build that still needs it fails."""
        if self._server is not None:
            self._server.close()
