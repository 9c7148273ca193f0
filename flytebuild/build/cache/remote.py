"""A cache in a repository of its own: one manifest for what is new in a build, and a tag for every result in it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from flytebuild.build.cache.export import Work, export, works
from flytebuild.build.cache.keys import BuiltImage, CacheKey, key_together, keys_of_state, tag_of_all
from flytebuild.build.cache.lookup import IMPORTS, Found, imports
from flytebuild.build.cache.union import unite
from flytebuild.build.solves import Solves
from flytebuild.buildkit.solve import Cache, SolveError
from flytebuild.events import Emit, Notice
from flytebuild.llb.state import State
from flytebuild.registry.client import Refused, RegistryClient
from flytebuild.registry.content import fetch_manifest, is_whole, put_manifest
from flytebuild.registry.copy import mount
from flytebuild.registry.reference import Reference


class RemoteCache(Struct, frozen=True):
    """Looked up in `found`, kept in `repository`.

    `layers` are the manifests of layers that images share, by what is in them; they are imported first.
    """

    client: RegistryClient
    repository: Reference
    compression: str
    has_bundle: bool
    found: Found
    layers: Mapping[CacheKey, Reference] = field(default_factory=dict)

    @property
    def imports(self) -> tuple[Cache, ...]:
        return imports((*self.layers.values(), *self.found.manifests)[:IMPORTS])

    @property
    def exports(self) -> tuple[Cache, ...]:
        """Nothing by the images' own solves: each would replace what the others have exported."""
        return ()

    async def keep(self, built: Sequence[BuiltImage], solver: Solves, emit: Emit, *, all_of_it: bool) -> None:
        # Layers that images share were looked at in this build; with them would go the image that makes them.
        shared = frozenset(tag for key in self.layers for tag in key.closure())
        known = shared if all_of_it else self.found.tags
        try:
            for work in works(built, known, has_bundle=self.has_bundle):
                await self._mount([image.place for image in work.images if image.place])
                digest = await self._export(work, () if all_of_it else self.imports, solver, emit)
                await self._tag(digest, {tag for key in work.keys for tag in key.closure()} - known)
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

    async def still_has(self, layer: State) -> bool:
        """Whether nothing is lost of the manifest that was found to have a layer."""
        (place,) = self._places([layer])
        return await self._is_whole(place)

    async def together(self, layers: Sequence[State]) -> Reference | None:
        """The one manifest that has all these layers, if there is one and nothing of it is lost."""
        place = self.found.places.get(key_together(_keys(layers)).tag)
        return place if place and await self._is_whole(place) else None

    def apart(self, layers: Sequence[State]) -> RemoteCache:
        """The cache as if no manifest had all these layers together."""
        key = key_together(_keys(layers))
        return replace(self, found=self.found.without(frozenset({key.tag})))

    def without(self, layers: Iterable[State]) -> RemoteCache:
        """The cache as if these layers were not in it."""
        return replace(self, found=self.found.lacking(frozenset(key.tag for key in _keys(layers))))

    async def with_layers(self, layers: Sequence[State], emit: Emit, *, whole: Reference | None = None) -> RemoteCache:
        """The cache with one manifest first that has all these layers: `whole`, or one that is put together of theirs.

        Trouble is a notice.
        """
        if not layers:
            return self
        key = key_together(_keys(layers))
        try:
            if whole is None:
                whole = await unite(self.client, self._places(layers), self.repository.tagged(key.tag))
        except Refused as error:
            emit(Notice(f"wheel layers cannot be imported from `{self.repository.name}`: {error}"))
            return self
        tags = frozenset(key.closure())
        found = replace(self.found.without(tags), tags=self.found.tags | tags)
        return replace(self, found=found, layers={**self.layers, key: whole})

    def _places(self, layers: Iterable[State]) -> list[Reference]:
        """The manifest of each layer."""
        return [self.repository.tagged(key.tag) for key in _keys(layers)]

    async def _is_whole(self, place: Reference) -> bool:
        """Whether all of a manifest is there. Where the registry does not say, whoever needs it finds out."""
        try:
            return await is_whole(self.client, place)
        except Refused:
            return True

    async def _mount(self, images: Sequence[Reference]) -> None:
        """What was pushed with images must not be pushed again; BuildKit mounts only what it has not unpacked."""
        manifests = await asyncio.gather(*(fetch_manifest(self.client, image) for image in images))
        holders = {blob: image for image, manifest in zip(images, manifests, strict=True) for blob in manifest.layers}
        blobs = {image: [blob for blob, holder in holders.items() if holder == image] for image in images}
        await asyncio.gather(*(mount(self.client, image, self.repository, found) for image, found in blobs.items()))

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


def _keys(layers: Iterable[State]) -> list[CacheKey]:
    return [key for layer in layers for key in keys_of_state(layer)]
