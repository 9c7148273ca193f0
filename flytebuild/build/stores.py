"""Where images live: a registry, or the engine's own store. Each knows how to look there and how to export to it."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import accumulate
from typing import TYPE_CHECKING, Protocol

from flytebuild.build.labels import IMAGE, SPEC, observation
from flytebuild.buildkit.export import Export
from flytebuild.config_values import Compression
from flytebuild.engine import connect
from flytebuild.errors import EngineUnavailableError, RegistryUnavailableError, UsageError
from flytebuild.facts import Absent, Present, Unknown
from flytebuild.history import is_tag_of_ours, tags
from flytebuild.leftovers import Leftover, Tagged
from flytebuild.plan import ImagePlan, Observation, is_in_engine
from flytebuild.registry.client import Refused, RegistryClient
from flytebuild.registry.copy import copy_image
from flytebuild.registry.layers import stored_layers
from flytebuild.registry.publish import mark_image, publish_image, publish_index
from flytebuild.registry.reference import parse
from flytebuild.registry.tags import delete_manifest, digests_of, list_tags
from flytebuild.size import StoredLayer
from flytebuild.spec.composition import decode
from flytebuild.spec.images import Platform

if TYPE_CHECKING:
    import docker

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


@dataclass(frozen=True)
class RegistryStore:
    """Images in a registry, and nowhere else: what is not unpacked here need not be fetched either."""

    client: RegistryClient
    compression: Compression = "zstd"

    async def observe(self, reference: str) -> Observation:
        location = parse(reference)
        fact = await self.client.presence(location)
        if not isinstance(fact, Present):
            return Observation(fact)
        labels = await self.client.labels(location, fact.digest)
        return Observation(labels) if isinstance(labels, Unknown) else observation(fact, labels)

    async def layers(self, reference: str) -> tuple[StoredLayer, ...]:
        try:
            return await stored_layers(self.client, parse(reference))
        except Refused as refusal:
            if refusal.status == HTTPStatus.NOT_FOUND:
                return ()
            raise RegistryUnavailableError(f"`{reference}` cannot be looked at: {refusal}") from refusal

    async def tagged(self, repository: str) -> list[Tagged]:
        """All references in a repository. Raises RegistryUnavailableError."""
        place = parse(repository)
        try:
            digests = await digests_of(self.client, place, await list_tags(self.client, place))
        except Refused as refusal:
            raise RegistryUnavailableError(f"The tags of `{repository}` cannot be listed: {refusal}") from refusal
        asked = dict.fromkeys(digest for tag, digest in digests.items() if is_tag_of_ours(tag))
        labels = await asyncio.gather(*(self.client.labels(place, digest) for digest in asked))
        known = dict(zip(asked, labels, strict=True))
        return [_tagged(f"{repository}:{tag}", digest, known.get(digest)) for tag, digest in digests.items()]

    async def forget(self, leftover: Leftover) -> None:
        """Delete what a digest names. Raises RegistryUnavailableError."""
        place = parse(leftover.references[0])
        try:
            await delete_manifest(self.client, place, leftover.digest)
        except Refused as refusal:
            raise RegistryUnavailableError(
                f"`{place.name}@{leftover.digest}` cannot be deleted: {refusal}"
            ) from refusal

    def export(self, reference: str, image_config: str | None) -> Export:
        attrs = {
            # Without a tag: that is for `publish` to put, once all is there.
            "name": parse(reference).name,
            "push": "true",
            "push-by-digest": "true",
            "store": "false",
            "oci-mediatypes": "true",
            "compression": self.compression,
        }
        if self.compression == "gzip":
            # Who asks for it has something that cannot read the other, wherever a layer comes from.
            attrs["force-compression"] = "true"
        return Export("image", attrs | _config(image_config))

    async def publish(self, image: ImagePlan, manifest: str) -> str:
        digest = await publish_image(self.client, parse(image.reference), manifest, {IMAGE: image.digest or ""})
        # For whoever asks later what has changed since: nothing of this build depends on it.
        await mark_image(self.client, parse(image.reference).pinned(digest), [parse(tag) for tag in tags(image)])
        return digest


@dataclass
class EngineStore:
    """Images in the store of the user's engine, where `docker images` shows them."""

    _client: docker.DockerClient | None = field(default=None)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    async def observe(self, reference: str) -> Observation:
        return await asyncio.to_thread(self._observe, reference)

    async def layers(self, reference: str) -> tuple[StoredLayer, ...]:
        return await asyncio.to_thread(self._layers, reference)

    def export(self, reference: str, image_config: str | None) -> Export:
        return Export("moby", {"name": reference} | _config(image_config))

    async def publish(self, image: ImagePlan, manifest: str) -> str:
        # The engine has named it already.
        return manifest

    async def name(self, source: str, target: str) -> str:
        """Give an image one more name; returns its digest. Raises EngineUnavailableError."""
        return await asyncio.to_thread(self._name, source, target)

    async def tagged(self, repository: str) -> list[Tagged]:
        """All references in a repository to images of flytebuild. Raises EngineUnavailableError."""
        return await asyncio.to_thread(self._tagged, repository)

    async def forget(self, leftover: Leftover) -> None:
        """Take away an image's names, and the image where it has no other. Raises EngineUnavailableError."""
        await asyncio.to_thread(self._forget, leftover)

    async def platform(self) -> Platform | None:
        """The platform that the engine runs, or None when it does not answer."""
        return await asyncio.to_thread(self._platform)

    def _platform(self) -> Platform | None:
        from docker.errors import DockerException

        try:
            version = self._engine().version()
        except (EngineUnavailableError, DockerException, OSError):
            return None
        return Platform(version["Os"], version["Arch"])

    def _observe(self, reference: str) -> Observation:
        from docker.errors import DockerException, ImageNotFound

        try:
            image = self._engine().images.get(reference)
        except ImageNotFound:
            return Observation(Absent())
        except EngineUnavailableError as error:
            return Observation(Unknown(error.message))
        except (DockerException, OSError) as error:
            return Observation(Unknown(f"the engine does not answer ({type(error).__name__})"))
        return observation(Present(image.id), image.labels)

    def _layers(self, reference: str) -> tuple[StoredLayer, ...]:
        from docker.errors import DockerException, ImageNotFound

        try:
            image = self._engine().images.get(reference)
            history = [item for item in reversed(image.history()) if item["Size"]]
        except ImageNotFound:
            return ()
        except (DockerException, OSError) as error:
            raise EngineUnavailableError(f"`{reference}` cannot be looked at: {error}") from error
        # The history has no digests: a layer is known by all that was done up to it.
        names = accumulate(history, lambda done, item: f"{done}\n{item['CreatedBy']} {item['Size']}", initial="")
        digests = [hashlib.sha256(name.encode()).hexdigest() for name in names][1:]
        return tuple(
            StoredLayer(digest, item["Size"], item["CreatedBy"]) for digest, item in zip(digests, history, strict=True)
        )

    def _tagged(self, repository: str) -> list[Tagged]:
        from docker.errors import DockerException

        try:
            images = self._engine().images.list(repository, filters={"label": IMAGE})
        except (DockerException, OSError) as error:
            raise EngineUnavailableError(f"The engine's images cannot be listed: {error}") from error
        # Other names of the same image are left as they are: an engine lets go of one name at a time.
        return [
            _tagged(name, f"{image.id} {name}", image.labels)
            for image in images
            for name in image.tags
            if name.rpartition(":")[0] == repository
        ]

    def _forget(self, leftover: Leftover) -> None:
        from docker.errors import DockerException, ImageNotFound

        for name in leftover.references:
            try:
                self._engine().images.remove(name)
            except ImageNotFound:
                continue
            except (DockerException, OSError) as error:
                raise EngineUnavailableError(f"`{name}` cannot be removed: {error}") from error

    def _name(self, source: str, target: str) -> str:
        from docker.errors import DockerException

        try:
            image = self._engine().images.get(source)
            image.tag(target)
        except (DockerException, OSError) as error:
            raise EngineUnavailableError(f"`{source}` cannot be named `{target}`: {error}") from error
        return str(image.id)

    def _engine(self) -> docker.DockerClient:
        with self._lock:
            if self._client is None:
                self._client = connect()
            return self._client

    def close(self) -> None:
        """Close the engine's client, if one was opened."""
        if self._client is not None:
            self._client.close()


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


@dataclass(frozen=True)
class Stores:
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

    async def tagged(self, repositories: Iterable[str]) -> list[Tagged]:
        """All references in these repositories. Raises RegistryUnavailableError or EngineUnavailableError."""
        places = [(self._engine() if is_in_engine(item) else self.registry, item) for item in repositories]
        found = await asyncio.gather(*(store.tagged(item) for store, item in places))
        return [item for items in found for item in items]

    async def forget(self, leftover: Leftover) -> None:
        """Delete an image with all its references. Raises RegistryUnavailableError or EngineUnavailableError."""
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


def _config(text: str | None) -> dict[str, str]:
    return {"containerimage.config": text} if text else {}


def _tagged(reference: str, digest: str, labels: Mapping[str, str] | Unknown | None) -> Tagged:
    """What a store has, judged by what the image says of itself: a tag alone proves nothing."""
    is_ours = isinstance(labels, Mapping) and IMAGE in labels and is_tag_of_ours(reference.rpartition(":")[2])
    made_of = decode(labels.get(SPEC, "")) if isinstance(labels, Mapping) else None
    return Tagged(reference, digest, is_ours, str(made_of.base.get("platform", "")) if made_of else "")
