"""Images that exist already, in another repository or registry: mounted blob by blob, streamed where that cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from flytebuild.errors import RegistryUnavailableError
from flytebuild.registry.client import Refused, RegistryClient
from flytebuild.registry.content import (
    Blob,
    Manifest,
    abandon_upload,
    fetch_manifest,
    has_blob,
    mount_blob,
    open_blob,
    put_manifest,
    start_upload,
    upload_blob,
)
from flytebuild.registry.reference import Reference

_STREAMS = 4
"""Blobs of one image that are moved at the same time, where they have to be moved."""


async def copy_image(client: RegistryClient, source: Reference, target: Reference) -> str:
    """Have what `source` leads to in the repository of `target` too, byte for byte; returns its digest.

    Within a registry nothing is moved, unless it refuses to mount. A tag is for `publish_image` to put. Raises
    RegistryUnavailableError.
    """
    try:
        manifest = await fetch_manifest(client, source)
        await _copy_content(client, source, target, manifest)
        await put_manifest(client, target.pinned(manifest.digest), manifest)
    except Refused as refusal:
        raise RegistryUnavailableError(f"`{source}` cannot be copied to `{target}`: {refusal}") from refusal
    return manifest.digest


async def mount(client: RegistryClient, source: Reference, target: Reference, blobs: Iterable[Blob]) -> bool:
    """Have blobs of one repository in another one of the same registry, as far as it goes without moving them.

    Whether all of them are there now. Spares whoever pushes afterwards what is mounted, and never fails.
    """
    if source.registry != target.registry:
        return False
    if source.repository == target.repository:
        return True
    rest = list(dict.fromkeys(blobs))
    # One at first: a registry that mounts nothing is asked once, not once per blob.
    for some in (rest[:1], rest[1:]):
        if not all(await asyncio.gather(*(_try_mount(client, source, target, blob) for blob in some))):
            return False
    return True


async def _copy_content(client: RegistryClient, source: Reference, target: Reference, manifest: Manifest) -> None:
    for member in manifest.members:
        await copy_image(client, source.pinned(member), target.pinned(member))
    streams = asyncio.Semaphore(_STREAMS)
    tasks = [asyncio.create_task(_copy_blob(client, source, target, blob, streams)) for blob in manifest.blobs]
    try:
        await asyncio.gather(*tasks)
    finally:
        # Where one has failed, or all are cancelled, the others must not go on behind the caller's back.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _copy_blob(
    client: RegistryClient, source: Reference, target: Reference, blob: Blob, streams: asyncio.Semaphore
) -> None:
    if source.registry == target.registry:
        location = await mount_blob(client, source, target, blob.digest)
        if location is None:
            return
    elif await has_blob(client, target, blob.digest):
        return
    else:
        location = await start_upload(client, target)
    async with streams, open_blob(client, source, blob.digest) as content:
        await upload_blob(client, target, location, blob, content)


async def _try_mount(client: RegistryClient, source: Reference, target: Reference, blob: Blob) -> bool:
    try:
        location = await mount_blob(client, source, target, blob.digest)
        if location is not None:
            await abandon_upload(client, target, location)
    except Refused:
        return False
    return location is None
