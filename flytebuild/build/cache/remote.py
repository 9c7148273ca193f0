"""A cache in a repository of its own: one manifest for all images of a build, and a tag for every result in it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from flytebuild.build.cache.export import export, works
from flytebuild.build.cache.keys import BuiltImage, CacheKey, key_of, key_of_state, tag_of_all
from flytebuild.build.cache.lookup import IMPORTS, Found
from flytebuild.build.solves import Solves
from flytebuild.buildkit._pb import ops_pb2
from flytebuild.buildkit.frontend import Frontend
from flytebuild.buildkit.solve import Cache, SolveError
from flytebuild.events import Emit, Notice
from flytebuild.facts import Present
from flytebuild.llb.marshal import marshal
from flytebuild.llb.merge import merge
from flytebuild.llb.state import State
from flytebuild.registry.client import Refused, RegistryClient
from flytebuild.registry.content import fetch_manifest, put_manifest
from flytebuild.registry.copy import mount
from flytebuild.registry.reference import Reference


class RemoteCache(Struct, frozen=True):
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

    def has(self, layer: State) -> bool:
        """Whether one of the manifests that were found has a layer."""
        key = key_of_state(layer)
        return key is not None and key.tag in self.found.tags

    async def having(self, layers: Sequence[State]) -> RemoteCache | None:
        """The cache with the manifest that has all these layers first; None where there is none."""
        key = _key_of_all(layers)
        fact = await self.client.presence(self.repository.tagged(key.tag))
        return self._with(self.repository.pinned(fact.digest), key) if isinstance(fact, Present) else None

    async def with_layers(self, layers: Sequence[State], solver: Solves, emit: Emit) -> RemoteCache:
        """The cache with a manifest more that has all these layers, which have been made; trouble is a notice."""
        key = _key_of_all(layers)
        try:
            digest = await self._export(marshal(_all_of(layers)), [key], self.found, solver, emit)
        except (SolveError, Refused) as error:
            emit(Notice(f"wheel layers were not written to `{self.repository.name}`: {error}"))
            return self
        return self._with(self.repository.pinned(digest), key)

    def _with(self, manifest: Reference, key: CacheKey) -> RemoteCache:
        """The first of what is imported is never one too many."""
        others = [item for item in self.found.manifests if item != manifest]
        return replace(self, found=Found((manifest, *others)[:IMPORTS], self.found.tags | set(key.closure())))

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
    ) -> str:
        """Write one manifest and give it a tag for every operation that has none yet; returns its digest."""
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
        return digest


def _all_of(layers: Sequence[State]) -> State:
    return merge(layers, name="all wheel layers") if len(layers) > 1 else layers[0]


def _key_of_all(layers: Sequence[State]) -> CacheKey:
    key = key_of_state(_all_of(layers))
    assert key is not None  # noqa: S101 - layers are no sources
    return key
