"""Who asks: the owner of the data folder, or a container of one of its runs. Nobody else is anybody.

A container is known by its attempt's credential, which counts while that attempt is under way; the owner may take one
for longer, to execute an attempt again by hand.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeAlias

from flytebuild.runtime.actions import Ledger
from flytebuild.runtime.model import ActionKey
from flytebuild.runtime.passes import Bearer, Passes, read_term
from flytebuild.runtime.records import UnknownError


@dataclass(frozen=True, slots=True)
class Owner:
    """The user whose control plane this is."""


@dataclass(frozen=True, slots=True)
class Guest:
    """A container: that of one attempt of an action."""

    key: ActionKey
    attempt: int


Caller: TypeAlias = Owner | Guest

CALLER: ContextVar[Caller] = ContextVar("caller")
"""Who sent the request that is being answered; unset where nobody is known."""


class Door:
    """Knows containers by their credentials; `heard` is told of each request that had a good one."""

    def __init__(self, ledger: Ledger, passes: Passes, heard: Callable[[ActionKey, int], None]) -> None:
        self._ledger = ledger
        self._passes = passes
        self._heard = heard

    def by_token(self, run: str, action: str, term: str, token: str) -> Guest | None:
        """The container that asks by a path with these parts."""
        bearer = self._bearer(run, action, term)
        if bearer is None or not hmac.compare_digest(self._passes.token(bearer).encode(), token.encode()):
            return None
        return self.enter(bearer)

    def by_key(self, key_id: str) -> tuple[Bearer, str] | None:
        """Whose access key it is, and its secret; nobody has entered by that."""
        parts = key_id.split(":")
        bearer = self._bearer(*parts) if len(parts) == 3 else None
        return (bearer, self._passes.key_secret(bearer)) if bearer else None

    def enter(self, bearer: Bearer) -> Guest:
        """Note that a container has shown its credential."""
        guest = Guest(ActionKey(bearer.run, bearer.action), bearer.attempt)
        self._heard(guest.key, guest.attempt)
        return guest

    def _bearer(self, run: str, action: str, term: str) -> Bearer | None:
        """Whom a credential of these names would be for, while it counts."""
        read = read_term(term)
        try:
            found = self._ledger.action(ActionKey(run, action))
            folder = self._ledger.run(run).folder
        except UnknownError:
            return None
        if read is None or found.last is None:
            return None
        number, until = read
        is_under_way = number == len(found.attempts) and not (found.phase.is_terminal or found.last.phase.is_terminal)
        counts = is_under_way if until is None else number <= len(found.attempts) and time.time() < until
        return Bearer(run, folder, action, number, until) if counts else None
