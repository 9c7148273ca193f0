"""A cache in a repository of its own: one manifest for all images of a build, and a tag for every result in it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from flytebuild.build.cache.export import export, works
from flytebuild.build.cache.keys import BuiltImage, CacheKey, key_of, tag_of_all
from flytebuild.build.cache.lookup import Found
from flytebuild.build.solves import Solves
from flytebuild.buildkit._pb import ops_pb2
from flytebuild.buildkit.frontend import Frontend
from flytebuild.buildkit.solve import Cache, SolveError
from flytebuild.events import Emit, Notice
from flytebuild.registry.client import Refused, RegistryClient
from flytebuild.registry.content import fetch_manifest, put_manifest
from flytebuild.registry.copy import mount
from flytebuild.registry.reference import Reference


@dataclass(frozen=True)
class RemoteCache:
    """Looked up in `found`, kept in `repository`."""

    client: RegistryClient
    repository: Reference
    compression: str
    has_bundle: bool
    found: Found

    @property
    def imports(self) -> tuple[Cache, ...]:
        return self.found.imports

    @property
    def exports(self) -> tuple[Cache, ...]:
        """Nothing by the images' own solves: each would replace what the others have exported."""
        return ()

    async def keep(self, built: Sequence[BuiltImage], solver: Solves, emit: Emit, *, all_of_it: bool) -> None:
        before = Found() if all_of_it else self.found
        keys = {image: key_of(image.spec, has_bundle=self.has_bundle) for image in built}
        new = {image: key for image, key in keys.items() if key and key.tag not in before.tags}
        try:
            await asyncio.gather(*(self._mount(image) for image in new))
            for work, members in works(new, has_bundle=self.has_bundle):
                await self._export(work, members, before, solver, emit)
        except (SolveError, Refused) as error:
            emit(Notice(f"the cache in `{self.repository.name}` was not written: {error}"))

    async def _mount(self, image: BuiltImage) -> None:
        """What was pushed with an image must not be pushed again; BuildKit mounts only what it has not unpacked."""
        if image.place:
            manifest = await fetch_manifest(self.client, image.place)
            await mount(self.client, image.place, self.repository, manifest.layers)

    async def _export(
        self,
        work: ops_pb2.Definition | Frontend,
        keys: Sequence[CacheKey],
        before: Found,
        solver: Solves,
        emit: Emit,
    ) -> None:
        """Write one manifest and give it a tag for every operation that has none yet."""
        target = self.repository.tagged(tag_of_all(keys))
        attrs = {
            "ref": str(target),
            "mode": "max",
            "image-manifest": "true",
            "oci-mediatypes": "true",
            "compression": self.compression,
        }

        digest = await export(work, str(target), Cache("registry", attrs), before.imports, solver, emit)
        manifest = await fetch_manifest(self.client, target.pinned(digest))
        tags = {tag for key in keys for tag in key.closure()} - before.tags
        await asyncio.gather(*(put_manifest(self.client, target.tagged(tag), manifest) for tag in sorted(tags)))
