"""The credentials of containers: one for each attempt, derived from the data folder's secret.

Nothing has to remember them: a control plane that takes up the containers of an earlier one knows theirs. They are for
Flyte's protocol, as a part of the path that the SDK keeps, and for the object store, as an access key. Whether an
attempt is still under way is the door's to say.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field, replace

PREFIX = "run"
"""The first part of the path by which containers reach Flyte's services: `/run/RUN/ACTION/ATTEMPT/TOKEN`."""

_TERM = re.compile(r"([1-9][0-9]{0,8})(?:-([1-9][0-9]{0,11}))?")


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whose credential it is; `folder` tells a run from an earlier one of its name.

    It counts while the attempt is under way, or until a time, in seconds since the epoch, where there is one.
    """

    run: str
    folder: str
    action: str
    attempt: int
    until: int | None = None

    @property
    def term(self) -> str:
        """The attempt with that time, as it stands in credentials; `read_term` reads it."""
        return str(self.attempt) if self.until is None else f"{self.attempt}-{self.until}"


@dataclass(frozen=True, slots=True)
class Pass:
    """What a container is given: the path before every path of the protocol, and the object store's key."""

    path: str = field(repr=False)
    key_id: str
    key_secret: str = field(repr=False)


class Passes:
    """Makes the credentials of one data folder, and makes them again to compare.

    What it issues counts `until` a time, where that is given.
    """

    def __init__(self, secret: str, until: int | None = None) -> None:
        self._secret = secret
        self._until = until

    def lasting(self, until: int) -> Passes:
        """The same for whoever works on an attempt that may have ended: its credentials count until a time."""
        return Passes(self._secret, until)

    def issue(self, bearer: Bearer) -> Pass:
        """The credentials of a bearer."""
        bearer = replace(bearer, until=self._until)
        place = f"/{PREFIX}/{bearer.run}/{bearer.action}/{bearer.term}/{self.token(bearer)}"
        return Pass(place, f"{bearer.run}:{bearer.action}:{bearer.term}", self.key_secret(bearer))

    def token(self, bearer: Bearer) -> str:
        """What stands in the path."""
        return self._derive("token", bearer)

    def key_secret(self, bearer: Bearer) -> str:
        """What requests to the object store are signed with."""
        return self._derive("key", bearer)

    def _derive(self, use: str, bearer: Bearer) -> str:
        # None of the names can hold a line's end.
        text = "\n".join((use, bearer.run, bearer.folder, bearer.action, bearer.term))
        return hmac.new(self._secret.encode(), text.encode(), "sha256").hexdigest()


def read_term(text: str) -> tuple[int, int | None] | None:
    """An attempt's number, and until when a credential counts; None for what is neither."""
    found = _TERM.fullmatch(text)
    return (int(found[1]), int(found[2]) if found[2] else None) if found else None
