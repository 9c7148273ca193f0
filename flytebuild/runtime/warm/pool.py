"""The warm containers of one kind: which of them takes the next action, and when there is another one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from flytebuild.runtime.reuse import Reuse
from flytebuild.runtime.warm.worker import Worker


@dataclass(eq=False)
class Berth:
    """A warm container from before its start; `taken` counts the actions that are in it, or on their way."""

    launching: asyncio.Task[Worker]
    taken: int = 0


class Pool:
    """The warm containers of one kind; `launch` has one that ends after so many idle seconds."""

    def __init__(self, reuse: Reuse, launch: Callable[[float], asyncio.Task[Worker]]) -> None:
        self._reuse = reuse
        self._launch = launch
        self._berths: list[Berth] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing is lost when it is forgotten."""
        return not self._berths

    def take(self) -> Berth:
        """A place for an action, in the fullest container that has one, so that others become idle.

        How many there are at most is none of this: who waits for its own children keeps its place, and must not keep
        them from theirs.
        """
        room = self._reuse.concurrency
        found = [berth for berth in self._berths if room is None or berth.taken < room]
        berth = max(found, key=lambda item: item.taken) if found else self._another()
        berth.taken += 1
        return berth

    def leave(self, berth: Berth) -> None:
        """Give a place back."""
        berth.taken -= 1

    def forget(self, berth: Berth) -> None:
        """Send nobody there any more."""
        if berth in self._berths:
            self._berths.remove(berth)

    def retire(self) -> None:
        """Let all containers end when their actions have ended, and send nobody there any more."""
        for berth in self._berths:
            berth.launching.add_done_callback(retire)
        self._berths.clear()

    def _another(self) -> Berth:
        is_extra = len(self._berths) >= self._reuse.least
        berth = Berth(self._launch(self._reuse.scaledown if is_extra else self._reuse.idle))
        self._berths.append(berth)
        berth.launching.add_done_callback(lambda launching: self._launched(berth, launching))
        return berth

    def _launched(self, berth: Berth, launching: asyncio.Task[Worker]) -> None:
        if launching.cancelled() or launching.exception() is not None:
            self.forget(berth)
        else:
            launching.result().over.add_done_callback(lambda _: self.forget(berth))


def retire(launching: asyncio.Task[Worker]) -> None:
    """Let a container end that has been started."""
    if not launching.cancelled() and launching.exception() is None:
        launching.result().retire()
