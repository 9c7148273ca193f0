"""Opening a session with BuildKit.

The connection opens a stream to the daemon, which becomes the client of what we serve at our end. Headers name the
session and the methods that we serve (buildkit `session/session.go`).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

from blake3 import blake3

from flytebuild.buildkit.connection import Connection
from flytebuild.buildkit.session.providers import Health, Provider, StreamProvider
from flytebuild.buildkit.session.server import Server
from flytebuild.buildkit.session.shared_key import SharedKey

_ID = "X-Docker-Expose-Session-Uuid"
_NAME = "X-Docker-Expose-Session-Name"
_SHARED_KEY = "X-Docker-Expose-Session-Sharedkey"
_METHOD = "X-Docker-Expose-Session-Grpc-Method"


class Session:
    """One session for one build, shared by its solves; `open` it before the first and `close` it after the last.

    `keys` is a folder that outlives the session: with it, files that an earlier session has sent are not sent again.
    """

    def __init__(
        self, connection: Connection, providers: Sequence[Provider | StreamProvider], *, keys: Path | None = None
    ) -> None:
        self.id = uuid.uuid4().hex
        self._connection = connection
        self._providers = (Health(), *providers)
        self._key = SharedKey(keys / blake3(connection.address.url.encode()).hexdigest(16)) if keys else None
        self._server: Server | None = None

    def open(self) -> None:
        """Raises EngineUnavailableError when BuildKit does not take the session."""
        headers = [(_ID, self.id), (_NAME, "flytebuild"), *((_METHOD, item.method) for item in self._providers)]
        if self._key:
            headers.append((_SHARED_KEY, self._key.take()))
        try:
            stream = self._connection.open_session(headers)
        except BaseException:
            self._give_back()
            raise
        self._server = Server(stream, self._providers, on_loss=self._key.spoil if self._key else None)
        self._server.start()

    def close(self) -> None:
        """End the session; a build that still needs it fails."""
        if self._server is not None:
            self._server.close()
        self._give_back()

    def __enter__(self) -> Session:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _give_back(self) -> None:
        if self._key:
            self._key.give_back()
