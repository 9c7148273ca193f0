"""A cache in a repository of its own: one manifest for all images of a build, and a tag for every result in it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flytebuild.build.cache.keys import BuiltImage, CacheKey, key_of, tag_of_all
from flytebuild.build.cache.lookup import Found
from flytebuild.build.dockerfile import lower_dockerfile
from flytebuild.build.solves import Solves
from flytebuild.buildkit._pb import ops_pb2
from flytebuild.buildkit.frontend import Frontend
from flytebuild.buildkit.progress import Progress
from flytebuild.buildkit.solve import CACHE_MANIFEST, Cache, SolveError
from flytebuild.events import Emit, Event, Notice, StepFinished, StepStarted
from flytebuild.llb.lower import lower
from flytebuild.llb.marshal import marshal
from flytebuild.llb.merge import merge
from flytebuild.registry.client import Refused, RegistryClient
from flytebuild.registry.content import fetch_manifest, put_manifest
from flytebuild.registry.copy import mount
from flytebuild.registry.reference import Reference

_EXPORTING = "exporting cache"
"""How BuildKit calls the one step of an export that is news; the others were told when the images were built."""


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
            for work, members in _works(new, has_bundle=self.has_bundle):
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

        def tell(event: Event) -> None:
            if isinstance(event, (StepStarted, StepFinished)) and event.name.startswith(_EXPORTING):
                emit(event)

        answer = await solver.solve(
            work,
            None,
            Progress(str(target), tell),
            "cache",
            imports=before.imports,
            exports=(Cache("registry", attrs),),
        )
        manifest = await fetch_manifest(self.client, target.pinned(json.loads(answer[CACHE_MANIFEST])["digest"]))
        tags = {tag for key in keys for tag in key.closure()} - before.tags
        await asyncio.gather(*(put_manifest(self.client, target.tagged(tag), manifest) for tag in sorted(tags)))


def _works(
    new: Mapping[BuiltImage, CacheKey], *, has_bundle: bool
) -> list[tuple[ops_pb2.Definition | Frontend, list[CacheKey]]]:
    """What is solved once more: all graphs as one, and each Dockerfile, whose graph only its frontend knows."""
    graphs = [image for image in new if image.spec.base]
    works: list[tuple[ops_pb2.Definition | Frontend, list[CacheKey]]] = []
    if graphs:
        states = list(dict.fromkeys(lower(image.spec, has_bundle=has_bundle) for image in graphs))
        together = merge(states, name="all images") if len(states) > 1 else states[0]
        works.append((marshal(together), [new[image] for image in graphs]))
    return works + [(lower_dockerfile(image.spec, {}), [key]) for image, key in new.items() if not image.spec.base]
