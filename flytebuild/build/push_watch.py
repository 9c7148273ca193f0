"""Pushes that a registry holds up for ever: BuildKit gives them no deadline, so they get one here.

BuildKit does not tell how far an upload is (`buildkit/uploads.py`). Where nothing was told of layers for long, the
registry is asked to take two bytes of ours: one that answers takes the layers as well, only slowly, and is waited for.
One that says nothing hangs, and so does one that takes that long for a manifest. Connections to a host that is gone are
not our matter: TCP's own timeouts end them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from msgspec import Struct

from flytebuild.build.solves import Solves
from flytebuild.buildkit._pb import ops_pb2
from flytebuild.buildkit.export import Export
from flytebuild.buildkit.failure import Failure
from flytebuild.buildkit.frontend import Frontend
from flytebuild.buildkit.progress import Progress
from flytebuild.buildkit.solve import Cache, SolveError
from flytebuild.buildkit.uploads import Uploads
from flytebuild.registry.client import Refused, RegistryClient, Silent
from flytebuild.registry.content import Blob, send_blob
from flytebuild.registry.reference import Reference, parse

_CONTENT = b"{}"
_BLOB = Blob.of(_CONTENT)
"""OCI's empty descriptor, which registries have of other artifacts."""

_LOOKS = 4
"""How often the silence is looked at while it would become too long."""


class WatchedPushes(Struct, frozen=True):
    """Solves, and fails a solve whose push has not moved for `patience` seconds to a registry that hangs."""

    solver: Solves
    client: RegistryClient
    patience: float

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
        solving = asyncio.ensure_future(
            self.solver.solve(work, export, progress, name, imports=imports, exports=exports)
        )
        target = _target(export, exports)
        try:
            while not (await asyncio.wait([solving], timeout=self.patience / _LOOKS))[0]:
                if target and (failure := await self._failure(target, progress.uploads)) and not solving.done():
                    raise SolveError(failure)
            return solving.result()
        finally:
            if not solving.done():
                solving.cancel()
                await asyncio.wait([solving])

    async def _failure(self, target: Reference, uploads: Uploads) -> Failure | None:
        pushed, is_large = uploads.current, uploads.is_large
        if pushed is None or uploads.silence < self.patience:
            return None
        if is_large and await self._answers(target):
            uploads.hear()
            return None
        silence = uploads.silence
        # It may have moved while the registry was asked.
        if silence < self.patience:
            return None
        also = f", and an upload of {len(_CONTENT)} bytes is not answered either" if is_large else ""
        return Failure(
            f"`{target.registry}` hangs: `{pushed}` of `{target.repository}` has not moved for {silence:.0f} s{also}",
            hint="look at the registry; the same command goes on from what it has. `push_timeout` in the "
            "configuration (or `FLYTEBUILD_PUSH_TIMEOUT`) says for how many seconds a push may not move",
        )

    async def _answers(self, target: Reference) -> bool:
        """Whether the registry says anything to an upload, in as much time as the push has had."""
        try:
            await asyncio.wait_for(self._upload(target), self.patience)
        except (Silent, asyncio.TimeoutError):
            return False
        except Refused:
            # That is an answer, or what we cannot find out.
            return True
        return True

    async def _upload(self, target: Reference) -> None:
        await send_blob(self.client, target, _BLOB, _CONTENT)


def _target(export: Export | None, exports: Sequence[Cache]) -> Reference | None:
    """The repository that is pushed to, if any is."""
    if export and export.attrs.get("push"):
        return parse(export.attrs["name"])
    return next((parse(cache.attrs["ref"]) for cache in exports if cache.type == "registry"), None)
