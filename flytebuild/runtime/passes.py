"""The credentials of containers: one for each attempt, derived from the data folder's secret.

Nothing has to remember them: a control plane that takes up the containers of an earlier one knows theirs. They are for
Flyte's protocol, as a part of the path that the SDK keeps, and for the object store, as an access key. Whether an
attempt is still under way is the door's to say.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

PREFIX = "run"
"""The first part of the path by which containers reach Flyte's services: `/run/RUN/ACTION/ATTEMPT/TOKEN`."""


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whose credential it is; `folder` tells a run from an earlier one of its name."""

    run: str
    folder: str
    action: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Pass:
    """What a container is given: the path before every path of the protocol, and the object store's key."""

    path: str = field(repr=False)
    key_id: str
    key_secret: str = field(repr=False)


class Passes:
    """Makes the credentials of one data folder, and makes them again to compare."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def issue(self, bearer: Bearer) -> Pass:
        """The credentials of a bearer."""
        place = f"/{PREFIX}/{bearer.run}/{bearer.action}/{bearer.attempt}/{self.token(bearer)}"
        return Pass(place, f"{bearer.run}:{bearer.action}:{bearer.attempt}", self.key_secret(bearer))

    def token(self, bearer: Bearer) -> str:
        """What stands in the path."""
        return self._derive("token", bearer)

    def key_secret(self, bearer: Bearer) -> str:
        """What requests to the object store are signed with."""
        return self._derive("key", bearer)

    def _derive(self, use: str, bearer: Bearer) -> str:
        # None of the names can hold a line's end.
        text = "\n".join((use, bearer.run, bearer.folder, bearer.action, str(bearer.attempt)))
        return hmac.new(self._secret, text.encode(), "sha256").hexdigest()
