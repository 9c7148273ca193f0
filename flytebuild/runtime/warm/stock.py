"""What is kept of warm containers beyond a run: for each kind one that waits for the next, or that there can be none.

A container belongs to one run from its first action on, since its actions are processes of one user, who can look at
each other. So that the next run finds a warm one all the same, one that has taken no action yet replaces those of a run
that has ended.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from dataclasses import replace

from flytebuild.runtime.warm.kind import Kind
from flytebuild.runtime.warm.pool import retire
from flytebuild.runtime.warm.worker import Worker

_MOST = 8
"""So many wait at the same time: those of the kinds that were used last."""

_MOST_REFUSED = 256
"""So many kinds of which there can be none are known at the same time; one that is forgotten is tried again."""


class Stock:
    """Containers without a run; kinds are told apart here by all but their run.

    What cannot be is remembered by a digest that nobody else can make, since kinds hold secrets.
    """

    def __init__(self) -> None:
        self._spares: list[tuple[Kind, asyncio.Task[Worker]]] = []
        self._digest_key = secrets.token_bytes(32)
        self._refused: dict[bytes, None] = {}

    def put(self, kind: Kind, launching: asyncio.Task[Worker]) -> None:
        """Keep a container, which is ready or about to be; the one that has waited for longest may have to go."""
        spare = (_of_any_run(kind), launching)
        self._spares.append(spare)
        launching.add_done_callback(lambda _: self._launched(spare))
        if len(self._spares) > _MOST:
            _, oldest = self._spares.pop(0)
            oldest.add_done_callback(retire)

    def has(self, kind: Kind) -> bool:
        """Whether one of a kind waits."""
        return any(known == _of_any_run(kind) for known, _ in self._spares)

    def take(self, kind: Kind) -> asyncio.Task[Worker] | None:
        """A container that nobody else gets any more."""
        for spare in self._spares:
            if spare[0] == _of_any_run(kind):
                self._spares.remove(spare)
                return spare[1]
        return None

    def refuse(self, kind: Kind) -> None:
        """Note that there can be none of a kind; of too many the one that was noted first is forgotten."""
        self._refused[self._digest(kind)] = None
        if len(self._refused) > _MOST_REFUSED:
            del self._refused[next(iter(self._refused))]

    def is_refused(self, kind: Kind) -> bool:
        """Whether there can be none, as far as is known."""
        return self._digest(kind) in self._refused

    def _digest(self, kind: Kind) -> bytes:
        same = _of_any_run(kind)
        texts = sorted(same.variables.items()), sorted(same.secret_files.items())
        content = repr((same.image, *texts, same.limits, same.reuse))
        return hashlib.blake2b(content.encode(), key=self._digest_key).digest()

    def _launched(self, spare: tuple[Kind, asyncio.Task[Worker]]) -> None:
        if spare[1].cancelled() or spare[1].exception() is not None:
            self._drop(spare)
        else:
            spare[1].result().over.add_done_callback(lambda _: self._drop(spare))

    def _drop(self, spare: tuple[Kind, asyncio.Task[Worker]]) -> None:
        if spare in self._spares:
            self._spares.remove(spare)


def _of_any_run(kind: Kind) -> Kind:
    return replace(kind, reuse=replace(kind.reuse, run=""))
