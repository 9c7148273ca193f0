"""A cache in a repository of its own: one manifest for what is new in a build, and a tag for every result in it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from flytebuild.build.cache.export import Work, export, works
from flytebuild.build.cache.keys import BuiltImage, key_together, keys_of_state, tag_of_all
from flytebuild.build.cache.lookup import IMPORTS, Found, imports
from flytebuild.build.cache.union import unite
from flytebuild.build.solves import Solves
from flytebuild.buildkit.solve import Cache, SolveError
from flytebuild.events import Emit, Notice
from flytebuild.llb.state import State
from flytebuild.registry.client import Refused, RegistryClient
from flytebuild.registry.content import fetch_manifest, put_manifest
from flytebuild.registry.copy import mount
from flytebuild.registry.reference import Reference


class RemoteCache(Struct, frozen=True):
    """Looked up in `found`, kept in `repository`.

    `layers` are the manifests of layers that images share, by their tags; they are imported first.
    """

    client: RegistryClient
    repository: Reference
    compression: str
    has_bundle: bool
    found: Found
    layers: Mapping[str, Reference] = field(default_factory=dict)

    @property
    def imports(self) -> tuple[Cache, ...]:
        return imports((*self.layers.values(), *self.found.manifests)[:IMPORTS])

    @property
    def exports(self) -> tuple[Cache, ...]:
        """Nothing by the images' own solves: each would replace what the others have exported."""
        return ()

    async def keep(self, built: Sequence[BuiltImage], solver: Solves, emit: Emit, *, all_of_it: bool) -> None:
        known = frozenset() if all_of_it else self.found.tags
        # Where something is doubted, so is what has the layers; what is written now has them, too.
        also = self.layers.keys() if all_of_it else frozenset()
        try:
            for work in works(built, known, has_bundle=self.has_bundle):
                await asyncio.gather(*(self._mount(image) for image in work.images))
                digest = await self._export(work, () if all_of_it else self.imports, solver, emit)
                tags = {tag for key in work.keys for tag in key.closure()} - known
                await self._tag(digest, tags | also)
        except (SolveError, Refused) as error:
            emit(Notice(f"the cache in `{self.repository.name}` was not written: {error}"))

    def has(self, layer: State) -> bool:
        """Whether one of the manifests that were found has a layer."""
        return all(key.tag in self.found.tags for key in keys_of_state(layer))

    def place_of(self, layer: State) -> Cache:
        """What the solve that makes a layer is to export it to: a manifest that holds the layer and nothing else.

        With everything below it that would be the image that made it as well.
        """
        return self._at(keys_of_state(layer)[0].tag, "min")

    async def with_layers(self, layers: Sequence[State], emit: Emit) -> RemoteCache:
        """The cache with one manifest first that has all these layers, each of which is in one; trouble is a notice."""
        keys = [key for layer in layers for key in keys_of_state(layer)]
        together = key_together(keys)
        whole = self.found.places.get(together.tag)
        try:
            if whole is None:
                sources = [self.found.places.get(key.tag) or self.repository.tagged(key.tag) for key in keys]
                whole = await unite(self.client, sources, self.repository.tagged(together.tag))
        except Refused as error:
            emit(Notice(f"wheel layers cannot be imported from `{self.repository.name}`: {error}"))
            return self
        tags = frozenset(together.closure())
        found = replace(self.found.without(tags), tags=self.found.tags | tags)
        return replace(self, found=found, layers={**self.layers, together.tag: whole})

    async def _mount(self, image: BuiltImage) -> None:
        """What was pushed with an image must not be pushed again; BuildKit mounts only what it has not unpacked."""
        if image.place:
            manifest = await fetch_manifest(self.client, image.place)
            await mount(self.client, image.place, self.repository, manifest.layers)

    async def _export(self, work: Work, imports: Sequence[Cache], solver: Solves, emit: Emit) -> str:
        """Write one manifest with all of a work's results; returns its digest."""
        tag = tag_of_all(work.keys)
        name = str(self.repository.tagged(tag))
        return await export(work.work, name, self._at(tag, "max"), imports, solver, emit)

    async def _tag(self, digest: str, tags: Iterable[str]) -> None:
        manifest = await fetch_manifest(self.client, self.repository.pinned(digest))
        await asyncio.gather(
            *(put_manifest(self.client, self.repository.tagged(tag), manifest) for tag in sorted(tags))
        )

    def _at(self, tag: str, mode: str) -> Cache:
        attrs = {
            "ref": str(self.repository.tagged(tag)),
            "mode": mode,
            "image-manifest": "true",
            "oci-mediatypes": "true",
            "compression": self.compression,
        }
        return Cache("registry", attrs)
