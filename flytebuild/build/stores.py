"""Where images live: a registry, the engine's own store, or nowhere, each reference in its place."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from flytebuild.build.engine_store import EngineStore
from flytebuild.build.labels import IMAGE
from flytebuild.build.registry_store import RegistryStore
from flytebuild.buildkit.export import Export
from flytebuild.errors import UsageError
from flytebuild.events import Emit, ignore
from flytebuild.facts import Absent
from flytebuild.leftovers import Named, Tagged
from flytebuild.plan import ImagePlan, Observation, is_in_engine
from flytebuild.registry.client import RegistryClient
from flytebuild.registry.copy import copy_image
from flytebuild.registry.publish import publish_index
from flytebuild.registry.reference import parse
from flytebuild.size import StoredLayer

if TYPE_CHECKING:
    from flytebuild.buildkit.session.providers import StreamProvider


class Store(Protocol):
    """A place that holds images."""

    async def observe(self, reference: str) -> Observation:
        """Whether an image is there, and which layers it has."""

    def export(self, reference: str, image_config: str | None) -> Export:
        """How BuildKit brings an image there; without a config it is the one that a frontend makes."""

    async def publish(self, image: ImagePlan, manifest: str) -> str:
        """Put the reference to what was exported, the last thing of all; returns the digest that it leads to.

        Raises IncompleteError when what was exported is not whole, RegistryUnavailableError.
        """


class Destination(Protocol):
    """Where all images of a build go, each to its store.

    `client` talks to the registries. What `is_public` others can have as well: then it is worth a cache, and is
    remembered. BuildKit calls `providers` where it cannot bring an image there by itself.
    """

    @property
    def client(self) -> RegistryClient: ...

    @property
    def is_public(self) -> bool: ...

    @property
    def providers(self) -> Sequence[StreamProvider]: ...

    def of(self, reference: str) -> Store:
        """The store that a reference belongs to."""

    async def copy(self, image: ImagePlan, source: str) -> str:
        """Have the image that `source` leads to under the image's own reference too; returns its digest.

        Raises UnavailableError, of a kind that tells who refuses it, or IncompleteError.
        """

    async def publish_index(self, index: ImagePlan) -> str:
        """Publish an index of images that are there; returns its digest. Raises RegistryUnavailableError."""


class Nowhere:
    """Where images would be that no engine keeps, while they are only planned: written as files, they need no store."""

    async def observe(self, reference: str) -> Observation:
        return Observation(Absent())

    def export(self, reference: str, image_config: str | None) -> Export:
        raise ValueError(f"{reference} has no place")

    async def publish(self, image: ImagePlan, manifest: str) -> str:
        raise ValueError(f"{image.reference} has no place")


class Stores(Struct, frozen=True):
    """The store of each reference, told by its registry; there is no engine's where another BuildKit builds."""

    registry: RegistryStore
    engine: EngineStore | None
    is_public: bool = True
    providers: Sequence[StreamProvider] = ()
    are_files: bool = False

    @property
    def client(self) -> RegistryClient:
        return self.registry.client

    def of(self, reference: str) -> Store:
        """Raises UsageError for an image of an engine where there is none, unless images are to be files."""
        if self.engine is None and self.are_files:
            return Nowhere() if is_in_engine(reference) else self.registry
        return self._engine() if is_in_engine(reference) else self.registry

    async def layers(self, reference: str) -> tuple[StoredLayer, ...]:
        """The layers of an image and their sizes; nothing where it is not there.

        Raises RegistryUnavailableError or EngineUnavailableError.
        """
        return await (self._engine() if is_in_engine(reference) else self.registry).layers(reference)

    async def tagged(self, repositories: Iterable[str], emit: Emit = ignore) -> list[Tagged]:
        """All references in these repositories. Raises RegistryUnavailableError or EngineUnavailableError."""
        asked = [
            self._engine().tagged(item) if is_in_engine(item) else self.registry.tagged(item, emit)
            for item in repositories
        ]
        found = await asyncio.gather(*asked)
        return [item for items in found for item in items]

    async def forget(self, leftover: Named) -> None:
        """Delete what a digest names, with all its references.

        Raises RegistryUnavailableError or EngineUnavailableError.
        """
        await (self._engine() if is_in_engine(leftover.references[0]) else self.registry).forget(leftover)

    async def copy(self, image: ImagePlan, source: str) -> str:
        if is_in_engine(source):
            return await self._engine().name(source, image.reference)
        copied = await copy_image(self.registry.client, parse(source), parse(image.reference))
        return await self.registry.publish(image, copied)

    async def publish_index(self, index: ImagePlan) -> str:
        members = {platform: parse(member) for platform, member in index.members}
        return await publish_index(self.client, parse(index.reference), members, {IMAGE: index.digest or ""})

    def _engine(self) -> EngineStore:
        if self.engine is None:
            raise UsageError(
                "The images need a registry: the BuildKit that is to build them is no Docker Engine, and keeps none",
                hint="set `registry` in the configuration, or `FLYTEBUILD_REGISTRY`",
            )
        return self.engine

    async def observe_all(self, references: Mapping[str, object]) -> dict[str, Observation]:
        """Look at all references at the same time."""
        found = await asyncio.gather(*(self.of(item).observe(item) for item in references))
        return dict(zip(references, found, strict=True))
