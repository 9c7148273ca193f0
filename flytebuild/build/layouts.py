"""OCI image layouts: images as folders of blobs, and archives of such folders.

https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tarfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from flytebuild.errors import RegistryUnavailableError
from flytebuild.registry.client import INDEX_TYPES, Refused, RegistryClient
from flytebuild.registry.content import Manifest, fetch_manifest, open_blob
from flytebuild.registry.reference import Reference, parse
from flytebuild.spec.images import Platform

MARKER = "oci-layout"
_VERSION = '{"imageLayoutVersion":"1.0.0"}'
_STREAMS = 4


def unpack(archive: Path, folder: Path) -> None:
    """Make a layout of an archive that BuildKit has written."""
    with tarfile.open(archive) as tar:
        for member in tar:
            # Names and kinds are BuildKit's own; whatever else there is, it is none of an image's.
            if member.isfile() and (member.name in (MARKER, "index.json") or member.name.startswith("blobs/sha256/")):
                place = folder / member.name
                if ".." in place.parts:
                    continue
                place.parent.mkdir(parents=True, exist_ok=True)
                content = tar.extractfile(member)
                if content:
                    with place.open("wb") as file:
                        shutil.copyfileobj(content, file, 1 << 20)


def pack(folder: Path, archive: Path) -> None:
    """Make an archive of a layout; the same for the same layout."""
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(item for item in folder.rglob("*") if item.is_file()):
            member = tarfile.TarInfo(str(path.relative_to(folder)))
            member.size = path.stat().st_size
            with path.open("rb") as file:
                tar.addfile(member, file)


def join(folder: Path, members: Mapping[Platform, Path], reference: str, annotations: Mapping[str, str]) -> str:
    """Make one layout of those of an image's platforms, which are used up; returns the index's digest."""
    manifests = []
    for platform, member in members.items():
        (entry,) = json.loads((member / "index.json").read_text())["manifests"]
        described = {"os": platform.os, "architecture": platform.architecture}
        if platform.variant:
            described["variant"] = platform.variant
        manifests.append({**{key: entry[key] for key in ("mediaType", "digest", "size")}, "platform": described})
        for blob in (member / "blobs/sha256").iterdir():
            _blob(folder, f"sha256:{blob.name}").parent.mkdir(parents=True, exist_ok=True)
            blob.replace(_blob(folder, f"sha256:{blob.name}"))
    index = Manifest.of(
        {
            "schemaVersion": 2,
            "mediaType": INDEX_TYPES[0],
            "manifests": manifests,
            "annotations": dict(annotations),
        }
    )
    _write_top(folder, index, parse(reference))
    return index.digest


async def fetch(client: RegistryClient, reference: Reference, folder: Path, name: str) -> str:
    """Make a layout of an image, or an index with its images, that a registry has; returns its digest.

    `name` is what the image is called in the layout. Raises RegistryUnavailableError, and OSError.
    """
    try:
        manifest = await fetch_manifest(client, reference)
        streams = asyncio.Semaphore(_STREAMS)
        for member in manifest.members:
            described = await fetch_manifest(client, reference.pinned(member))
            await _fetch_blobs(client, reference, described, folder, streams)
            _write_blob(folder, described)
        await _fetch_blobs(client, reference, manifest, folder, streams)
        _write_top(folder, manifest, parse(name))
    except Refused as refusal:
        raise RegistryUnavailableError(f"`{reference}` cannot be fetched: {refusal}") from refusal
    return manifest.digest


async def _fetch_blobs(
    client: RegistryClient, reference: Reference, manifest: Manifest, folder: Path, streams: asyncio.Semaphore
) -> None:
    async def one(digest: str) -> None:
        async with streams, open_blob(client, reference, digest) as content:
            await _save(content, _blob(folder, digest))

    tasks = [asyncio.create_task(one(blob.digest)) for blob in manifest.blobs]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _save(content: AsyncIterator[bytes], place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("wb") as file:
        async for chunk in content:
            file.write(chunk)


def _write_top(folder: Path, manifest: Manifest, reference: Reference) -> None:
    """The manifest or index that a layout is of, and the files that say so."""
    _write_blob(folder, manifest)
    entry: dict[str, Any] = {
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": len(manifest.content),
        # By these, tools that load it know what to call it.
        "annotations": {"io.containerd.image.name": str(reference), "org.opencontainers.image.ref.name": reference.tag},
    }
    top = {"schemaVersion": 2, "mediaType": INDEX_TYPES[0], "manifests": [entry]}
    (folder / "index.json").write_text(json.dumps(top, sort_keys=True, separators=(",", ":")))
    (folder / MARKER).write_text(_VERSION)


def _write_blob(folder: Path, manifest: Manifest) -> None:
    place = _blob(folder, manifest.digest)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(manifest.content)


def _blob(folder: Path, digest: str) -> Path:
    algorithm, _, digits = digest.partition(":")
    return folder / "blobs" / algorithm / digits
