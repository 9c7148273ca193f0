"""One BuildKit that a build works with: the connection and the session, which are made anew when they are lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from msgspec import Struct

from flytebuild import folders
from flytebuild.build.builder import Builder, Outcome
from flytebuild.build.once import Once
from flytebuild.build.solves import Solver
from flytebuild.buildkit._pb import ops_pb2
from flytebuild.buildkit.address import Address, DaemonAddress
from flytebuild.buildkit.connection import Connection, Worker
from flytebuild.buildkit.export import Export
from flytebuild.buildkit.frontend import Frontend
from flytebuild.buildkit.progress import Progress
from flytebuild.buildkit.session.providers import Provider, StreamProvider
from flytebuild.buildkit.session.session import Session
from flytebuild.buildkit.solve import Cache
from flytebuild.errors import EngineUnavailableError
from flytebuild.events import Emit, Notice
from flytebuild.plan import ImagePlan
from flytebuild.threads import in_thread

PATIENCE = 10.0
"""Seconds in which a daemon that has gone may come back; one that was restarted needs a few."""

_PAUSE = 0.25


@dataclass
class Station:
    """A BuildKit at `address`; `open` it before the first solve and `close` it after the last.

    `check` is told what the daemon says of itself before anything is asked of it, and raises where that will not do.
    """

    address: Address
    providers: Sequence[Provider | StreamProvider]
    check: Callable[[Address, Worker], None]
    _line: _Line | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def line(self) -> _Line:
        """The connection that is used at the moment."""
        if self._line is None:
            raise ValueError(f"{self.address.shown} is not open")
        return self._line

    @property
    def worker(self) -> Worker:
        """What the daemon says of itself."""
        return self.line.worker

    @property
    def can_merge(self) -> bool:
        """Whether it merges layers without unpacking them."""
        return self.worker.has_containerd_store or isinstance(self.address, DaemonAddress)

    async def open(self) -> None:
        """Connect. Raises EngineUnavailableError, or ConfigError for certificates that cannot be used."""
        self._line = await in_thread(self._connect, "flytebuild-connection")

    async def close(self) -> None:
        """End the session and the connection; solves that still run are cancelled by it."""
        if self._line is not None:
            await in_thread(self._line.close, "flytebuild-connection")

    async def solve(
        self,
        work: ops_pb2.Definition | Frontend,
        export: Export | None,
        progress: Progress,
        name: str,
        *,
        imports: Sequence[Cache] = (),
        exports: Sequence[Cache] = (),
    ) -> Mapping[str, str]:
        """As `Solver.solve`, on the connection of the moment."""
        return await self.line.solver.solve(work, export, progress, name, imports=imports, exports=exports)

    async def reopen(self, lost: _Line, patience: float) -> bool:
        """Connect again where `lost` was the connection, unless somebody has; False when there is no daemon in time."""
        async with self._lock:
            if self.line is not lost:
                return True
            until = time.monotonic() + patience
            while True:
                try:
                    found = await in_thread(self._connect, "flytebuild-connection")
                except EngineUnavailableError:
                    if time.monotonic() > until:
                        return False
                    await asyncio.sleep(_PAUSE)
                else:
                    self._line = found
                    await in_thread(lost.close, "flytebuild-connection")
                    return True

    def _connect(self) -> _Line:
        with ExitStack() as stack:
            connection = Connection.open(self.address)
            stack.callback(connection.close)
            worker = connection.worker()
            self.check(self.address, worker)
            session = Session(connection, self.providers, keys=folders.session_keys())
            session.open()
            stack.callback(session.close)
            return _Line(Solver(connection, session.id), worker, stack.pop_all())
        raise AssertionError("nothing above suppresses an exception")


class _Line(Struct, frozen=True):
    """A connection and its session."""

    solver: Solver
    worker: Worker
    _stack: ExitStack

    def close(self) -> None:
        self._stack.close()


class Reconnected(Struct, frozen=True):
    """Goes on with an image where the daemon was lost and has come back: what was built is in its cache."""

    builder: Builder
    station: Station
    patience: float = PATIENCE

    async def build(self, image: ImagePlan, emit: Emit) -> Outcome:
        line = self.station.line
        once = Once(emit)
        outcome = await self.builder.build(image, once)
        if outcome.is_unavailable and await self.station.reopen(line, self.patience):
            names = ", ".join(image.environments)
            emit(Notice(f"`{self.station.address.shown}` was lost and is back; the image of {names} goes on"))
            outcome = await self.builder.build(image, once)
        once.end()
        return outcome
