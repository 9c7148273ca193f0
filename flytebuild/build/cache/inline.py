"""A cache in the images themselves, for registries that take nothing else: less of it, in no repository of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from msgspec import Struct

from flytebuild.build.cache.keys import BuiltImage, key_of_last
from flytebuild.build.cache.lookup import Found, imports
from flytebuild.build.solves import Solves
from flytebuild.buildkit.solve import Cache
from flytebuild.events import Emit, Notice
from flytebuild.registry.client import Refused, RegistryClient
from flytebuild.registry.content import fetch_manifest, put_manifest


class InlineCache(Struct, frozen=True):
    """Each image says in its config which result it is of; BuildKit finds no others in it.

    So an image has one more tag in its repository, that of its last operation.
    """

    client: RegistryClient
    has_bundle: bool
    found: Found

    @property
    def imports(self) -> tuple[Cache, ...]:
        return imports(self.found.manifests)

    @property
    def exports(self) -> tuple[Cache, ...]:
        return (Cache("inline", {}),)

    async def keep(self, built: Sequence[BuiltImage], _solver: Solves, emit: Emit, *, all_of_it: bool) -> None:
        try:
            await asyncio.gather(*(self._tag(image) for image in built))
        except Refused as refusal:
            emit(Notice(f"images were not tagged for the cache: {refusal}"))

    async def _tag(self, image: BuiltImage) -> None:
        key = key_of_last(image.spec, has_bundle=self.has_bundle)
        if image.place and key:
            await put_manifest(self.client, image.place.tagged(key.tag), await fetch_manifest(self.client, image.place))
