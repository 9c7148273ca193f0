"""Images in a registry: how to look there, and how BuildKit exports to it."""

from __future__ import annotations

from http import HTTPStatus

from msgspec import Struct

from flytebuild.build.labels import IMAGE, observation, tagged
from flytebuild.build.refusal import unavailable
from flytebuild.buildkit.export import Export
from flytebuild.config_values import Compression
from flytebuild.events import Emit, ignore
from flytebuild.facts import Present, Unknown
from flytebuild.history import is_tag_of_ours, tags
from flytebuild.leftovers import Named, Tagged
from flytebuild.plan import ImagePlan, Observation
from flytebuild.registry.client import Refused, RegistryClient
from flytebuild.registry.layers import Described, describe, stored_layers
from flytebuild.registry.publish import mark_image, publish_image
from flytebuild.registry.reference import Reference, parse
from flytebuild.registry.tags import counted, delete_manifest, digests_of, list_tags
from flytebuild.size import StoredLayer


class RegistryStore(Struct, frozen=True):
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
            found = await stored_layers(self.client, parse(reference))
        except Refused as refusal:
            if refusal.status == HTTPStatus.NOT_FOUND:
                return ()
            raise unavailable(f"`{reference}` cannot be looked at", parse(reference), refusal) from refusal
        return tuple({layer.digest: layer for layer in found}.values())

    async def tagged(self, repository: str, emit: Emit = ignore) -> list[Tagged]:
        """All references in a repository. Raises RegistryUnavailableError."""
        place = parse(repository)
        try:
            digests = await digests_of(self.client, place, await list_tags(self.client, place), emit)
        except Refused as refusal:
            raise unavailable(f"The tags of `{repository}` cannot be listed", place, refusal) from refusal
        asked = dict.fromkeys(digest for tag, digest in digests.items() if is_tag_of_ours(tag))
        described = [self._describe(place.pinned(digest)) for digest in asked]
        known = dict(zip(asked, await counted(f"images in `{place.name}`", described, emit), strict=True))
        return [tagged(f"{repository}:{tag}", digest, known.get(digest)) for tag, digest in digests.items()]

    async def _describe(self, reference: Reference) -> Described | None:
        """What an image says of itself; None where it cannot be looked at."""
        try:
            return await describe(self.client, reference)
        except Refused:
            return None

    async def forget(self, leftover: Named) -> None:
        """Delete what a digest names. Raises RegistryUnavailableError."""
        place = parse(leftover.references[0])
        try:
            await delete_manifest(self.client, place, leftover.digest)
        except Refused as refusal:
            raise unavailable(f"`{place.name}@{leftover.digest}` cannot be deleted", place, refusal) from refusal

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
        return Export("image", attrs).with_config(image_config)

    async def publish(self, image: ImagePlan, manifest: str) -> str:
        digest = await publish_image(self.client, parse(image.reference), manifest, {IMAGE: image.digest or ""})
        # For whoever asks later what has changed since: nothing of this build depends on it.
        await mark_image(self.client, parse(image.reference).pinned(digest), [parse(tag) for tag in tags(image)])
        return digest
