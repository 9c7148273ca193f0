"""Who may start a container now: the sum of what attempts ask for stays within the machine.

A parent that waits for its children is not counted, or it would keep them from ever starting; so what counts ends by
itself, and whoever waits gets its turn. Runs take turns, each with its oldest attempt first; an attempt that does not
fit yet holds up the others, or a large one would wait for ever behind small ones. A run may have a limit of its own to
the number of its attempts: there, as on a cluster, a parent that waits counts; who waits for that holds up nobody else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from flytebuild.runtime import quantity
from flytebuild.runtime.model import ActionKey
from flytebuild.runtime.reuse import Reuse

if TYPE_CHECKING:
    from flyteidl2.core.tasks_pb2 import Container

DEFAULT_MEMORY = 128 << 20
"""Bytes that an attempt counts for where its task asks for no memory: what the SDK itself takes, and a little."""

_CPU, _GPU, _MEMORY = 1, 2, 3
"""Numbers of `Resources.ResourceName` in the protocol."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """An amount of each resource: CPUs in thousandths, memory in bytes, places in the containers of a pool."""

    cpu: int = 0
    memory: int = 0
    gpus: int = 0
    places: int = 0

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(
            self.cpu + other.cpu, self.memory + other.memory, self.gpus + other.gpus, self.places + other.places
        )

    def share(self, others: int) -> Amounts:
        """What one of several counts for that have all of this together."""
        return Amounts(self.cpu // others, self.memory // others, self.gpus // others, self.places)


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a machine, or a pool, has; None is not known, and bounds nothing."""

    cpu: int | None = None
    memory: int | None = None
    gpus: int | None = None
    places: int | None = None


def capacity_of(info: Mapping[str, Any]) -> Capacity:
    """What containers can have of a machine, by what its engine says of it (`GET /info`)."""
    cpus, memory = int(info.get("NCPU") or 0), int(info.get("MemTotal") or 0)
    # Newer engines list their devices; of an older one it is not known how many there are.
    devices = info.get("DiscoveredDevices")
    gpus = sum("/gpu" in str(item.get("ID", "")) for item in devices) if devices else None
    return Capacity(cpus * 1000 or None, memory or None, gpus)


@dataclass(frozen=True, slots=True)
class Demand:
    """What an attempt counts for, and which of it its task asked for itself."""

    counted: Amounts
    asked: Amounts


def demand(container: Container) -> Demand:
    """What a task's container counts for: its requests, or its limits where it has none.

    Raises ValueError for a quantity that cannot be read.
    """
    amounts = {item.name: item.value for item in (*container.resources.limits, *container.resources.requests)}
    cpu = int(quantity.parse(amounts[_CPU]) * 1000) if amounts.get(_CPU) else 0
    memory = int(quantity.parse(amounts[_MEMORY])) if amounts.get(_MEMORY) else 0
    gpus = int(quantity.parse(amounts[_GPU])) if amounts.get(_GPU) else 0
    return Demand(Amounts(cpu, memory or DEFAULT_MEMORY, gpus), Amounts(cpu, memory, gpus))


def excess(asked: Amounts, capacity: Capacity) -> str:
    """Which requests are larger than the machine, in words with the numbers; empty when none is."""
    found = []
    for item in fields(Amounts):
        wanted, there = getattr(asked, item.name), getattr(capacity, item.name)
        if there is not None and wanted > there:
            found.append(f"{_words(item.name, wanted)}, where this machine has {_words(item.name, there)}")
    return "; ".join(found)


@dataclass(slots=True)
class _Ticket:
    key: ActionKey
    amounts: Amounts
    most: int | None
    admitted: asyncio.Future[None]


class Admission:
    """The turns of one machine, or of one pool. `is_waiting` tells whether an action waits for those that it called."""

    def __init__(self, capacity: Capacity, is_waiting: Callable[[ActionKey], bool]) -> None:
        self.capacity = capacity
        self._is_waiting = is_waiting
        self._held: dict[ActionKey, Amounts] = {}
        self._queues: dict[str, deque[_Ticket]] = {}

    async def enter(
        self, key: ActionKey, amounts: Amounts, tell: Callable[[str], None], most: int | None = None
    ) -> None:
        """Wait until there is room, and take it; `tell` is called with what is missing when there is none at once.

        `most` attempts of the run at the same time are its limit. Whoever entered leaves in the end; who is cancelled
        here has not entered.
        """
        ticket = _Ticket(key, amounts, most, asyncio.get_running_loop().create_future())
        self._queues.setdefault(key.run, deque()).append(ticket)
        self.reconsider()
        try:
            if not ticket.admitted.done():
                tell(self._missing(ticket))
            await ticket.admitted
        except asyncio.CancelledError:
            self._withdraw(ticket)
            raise

    def hold(self, key: ActionKey, amounts: Amounts) -> None:
        """Count an attempt that runs already."""
        self._held[key] = amounts

    def leave(self, key: ActionKey) -> None:
        """Give room back; harmless for who has none."""
        if self._held.pop(key, None) is not None:
            self.reconsider()

    def reconsider(self) -> None:
        """Admit who fits now: after a change of what counts."""
        while (ticket := self._next()) is not None:
            run = ticket.key.run
            queue = self._queues.pop(run)
            queue.popleft()
            if queue:
                # The next turn is another run's.
                self._queues[run] = queue
            if not ticket.admitted.cancelled():
                self._held[ticket.key] = ticket.amounts
                ticket.admitted.set_result(None)

    def _next(self) -> _Ticket | None:
        """Whose turn it is, if it can be taken now."""
        for queue in self._queues.values():
            ticket = queue[0]
            if ticket.admitted.cancelled():
                return ticket
            if self._has_place(ticket):
                return ticket if self._fits(ticket.amounts) else None
        return None

    def _has_place(self, ticket: _Ticket) -> bool:
        """Whether a run's own limit lets one more of its attempts begin.

        Where all that it has begun waits for others, one does: a cluster would stand still there.
        """
        if ticket.most is None:
            return True
        held = [key for key in self._held if key.run == ticket.key.run]
        return len(held) < ticket.most or all(map(self._is_waiting, held))

    def _withdraw(self, ticket: _Ticket) -> None:
        self._held.pop(ticket.key, None)
        queue = self._queues.get(ticket.key.run)
        if queue is not None and ticket in queue:
            queue.remove(ticket)
            if not queue:
                del self._queues[ticket.key.run]
        self.reconsider()

    def _used(self) -> Amounts:
        return sum((held for key, held in self._held.items() if not self._is_waiting(key)), Amounts())

    def _fits(self, amounts: Amounts) -> bool:
        used = self._used()
        # Alone, everything fits: what is larger than the machine was refused before.
        return used == Amounts() or not excess(used + amounts, self.capacity)

    def _missing(self, ticket: _Ticket) -> str:
        if not self._has_place(ticket):
            return f"waiting for others of its run, which has at most {ticket.most} at the same time"
        amounts, used = ticket.amounts, self._used()
        short = [
            f"{_words(item.name, wanted)} ({_words(item.name, max(there - getattr(used, item.name), 0))} free)"
            for item in fields(Amounts)
            if (wanted := getattr(amounts, item.name))
            if (there := getattr(self.capacity, item.name)) is not None
            if wanted + getattr(used, item.name) > there
        ]
        return f"waiting for {' and '.join(short)}" if short else "waiting for its turn"


class Pools:
    """The turns of pools whose policies say how many of their containers work at the same time.

    A container counts for the machine once, by what its task asks for: each of the actions that have room in it at the
    same time counts its share.
    """

    def __init__(self, is_waiting: Callable[[ActionKey], bool]) -> None:
        self._is_waiting = is_waiting
        self._admissions: dict[tuple[str, str, int], Admission] = {}

    async def enter(self, key: ActionKey, reuse: Reuse | None, tell: Callable[[str], None]) -> None:
        """Wait for a place in its pool, where there is one that has not enough for all."""
        if admission := self._of(reuse):
            await admission.enter(key, Amounts(places=1), lambda words: tell(f"{words} in its pool"))

    def hold(self, key: ActionKey, reuse: Reuse | None) -> None:
        """Count an attempt that runs already."""
        if admission := self._of(reuse):
            admission.hold(key, Amounts(places=1))

    def leave(self, key: ActionKey) -> None:
        """Give a place back; harmless for who has none."""
        for admission in self._admissions.values():
            admission.leave(key)

    def reconsider(self) -> None:
        """Admit who fits now: after a change of who waits."""
        for admission in self._admissions.values():
            admission.reconsider()

    def _of(self, reuse: Reuse | None) -> Admission | None:
        if reuse is None or reuse.places is None:
            return None
        fresh = Admission(Capacity(places=reuse.places), self._is_waiting)
        return self._admissions.setdefault((reuse.pool, reuse.run, reuse.places), fresh)


def _words(name: str, amount: int) -> str:
    if name == "cpu":
        return f"{amount / 1000:g} CPU{'' if amount == 1000 else 's'}"
    if name == "memory":
        return f"{amount / (1 << 20):,.0f} MiB of memory"
    noun = "GPU" if name == "gpus" else "place"
    return f"{amount} {noun}{'' if amount == 1 else 's'}"
