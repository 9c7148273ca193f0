"""Publishing under a tag what a registry holds already by its digest: the last thing that a build does.

A tag of ours says what is behind it, so it never changes its meaning. Nor should it change its content: whoever comes
second keeps what is there, if that says that it is this image, and is whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from flytebuild.errors import RegistryUnavailableError
from flytebuild.facts import Present, Unknown
from flytebuild.registry.client import INDEX_TYPES, Refused, RegistryClient
from flytebuild.registry.content import Manifest, fetch_manifest, missing_blobs, put_manifest
from flytebuild.registry.reference import Reference
from flytebuild.spec.images import Platform


class IncompleteError(Exception):
    """Raised when a repository lacks blobs of an image that was pushed to it."""

    def __init__(self, target: Reference, missing: tuple[str, ...]) -> None:
        super().__init__(f"`{target.registry}` lacks {', '.join(f'`{digest}`' for digest in missing)}")
        self.missing = missing


async def publish_image(client: RegistryClient, target: Reference, digest: str, said: Mapping[str, str]) -> str:
    """Tag an image that was pushed by its digest; returns the digest that the tag leads to in the end.

    `said` are the labels by which an image that is there already is recognised as the same one. Raises IncompleteError
    when the image is not whole, RegistryUnavailableError when the registry does not do what it is asked for.
    """
    try:
        manifest = await fetch_manifest(client, target.pinned(digest))
        if missing := await missing_blobs(client, target, manifest):
            raise IncompleteError(target, missing)
        if kept := await _kept(client, target, said):
            return kept
        await put_manifest(client, target, manifest)
    except Refused as refusal:
        raise RegistryUnavailableError(f"`{target}` cannot be published: {refusal}") from refusal
    return digest


async def mark_image(client: RegistryClient, image: Reference, tags: Sequence[Reference]) -> None:
    """Move tags to an image that is there, all in its repository; a registry that keeps tags where they are may."""
    try:
        manifest = await fetch_manifest(client, image)
        await asyncio.gather(*(put_manifest(client, tag, manifest) for tag in tags))
    except Refused:
        return


async def publish_index(
    client: RegistryClient, target: Reference, members: Mapping[Platform, Reference], annotations: Mapping[str, str]
) -> str:
    """Publish an index of images that are there, one for each platform; returns the digest that its tag leads to.

    Raises RegistryUnavailableError when an image cannot be found, or the registry does not take the index.
    """
    try:
        described = [_descriptor(client, target, member, platform) for platform, member in members.items()]
        manifests = await asyncio.gather(*described)
        if kept := await _kept(client, target, annotations):
            return kept
        index = Manifest.of(
            {
                "schemaVersion": 2,
                "mediaType": INDEX_TYPES[0],
                "manifests": manifests,
                "annotations": dict(annotations),
            }
        )
        await put_manifest(client, target, index)
    except Refused as refusal:
        raise RegistryUnavailableError(f"`{target}` cannot be published: {refusal}") from refusal
    return index.digest


async def _kept(client: RegistryClient, target: Reference, said: Mapping[str, str]) -> str | None:
    """The digest of what is there under the tag, if that is the same image and nothing of it is gone."""
    fact = await client.presence(target)
    if not isinstance(fact, Present):
        return None
    found = await client.labels(target, fact.digest)
    if isinstance(found, Unknown) or said.items() - found.items():
        return None
    manifest = await fetch_manifest(client, target.pinned(fact.digest))
    for member in manifest.members:
        if not isinstance(await client.presence(target.pinned(member)), Present):
            return None
    return None if await missing_blobs(client, target, manifest) else fact.digest


async def _descriptor(
    client: RegistryClient, target: Reference, member: Reference, platform: Platform
) -> dict[str, Any]:
    if (member.registry, member.repository) != (target.registry, target.repository):
        raise Refused(f"`{member}` is in another repository")
    manifest = await fetch_manifest(client, member)
    found = {"os": platform.os, "architecture": platform.architecture}
    return {
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": len(manifest.content),
        "platform": found | ({"variant": platform.variant} if platform.variant else {}),
    }
