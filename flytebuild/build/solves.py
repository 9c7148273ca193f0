"""Solves in the event loop: awaited without blocking it, and stopped on the daemon when they are cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from flytebuild.buildkit._pb import ops_pb2
from flytebuild.buildkit.connection import Connection
from flytebuild.buildkit.export import Export
from flytebuild.buildkit.frontend import Frontend
from flytebuild.buildkit.progress import Progress
from flytebuild.buildkit.solve import Cache, Solve
from flytebuild.threads import in_thread


class Solves(Protocol):
    """What solves: one connection, or whichever is there at the moment."""

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
        """The exporters' answers; `name` is its thread's. Raises SolveError.

        When it is cancelled, it ends once its steps have ended.
        """


class Solver(Struct, frozen=True):
    """One BuildKit and the session that it asks for files, secrets and credentials."""

    connection: Connection
    session: str

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
        """As `Solves` says."""
        solve = Solve(self.connection, self.session)
        running = in_thread(
            lambda: solve.run(work, export, progress, imports=imports, exports=exports), f"flytebuild-solve {name}"
        )
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            solve.cancel()
            await asyncio.wait([running])
            raise
