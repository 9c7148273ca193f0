"""Whether a registry takes the manifests of caches, asked before anything depends on it."""

from __future__ import annotations

import gzip

from flytebuild.build.cache.configs import CONFIG_TYPE
from flytebuild.registry.client import MANIFEST_TYPES, Refused, RegistryClient
from flytebuild.registry.content import Blob, Manifest, has_blob, put_manifest, send_blob
from flytebuild.registry.reference import Reference

_LAYER = gzip.compress(bytes(1024), mtime=0)
_CONFIG = b'{"layers":[],"records":[]}'


async def why_no_cache(client: RegistryClient, repository: Reference) -> Refused | None:
    """What the registry says to a cache that holds nothing; None when it takes it.

    The manifest has no tag, and is the same each time.
    """
    blobs = {Blob.of(content): content for content in (_CONFIG, _LAYER)}
    config, layer = blobs
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPES[0],
        "config": {"mediaType": CONFIG_TYPE, "digest": config.digest, "size": config.size},
        "layers": [
            {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": layer.digest, "size": layer.size}
        ],
    }
    try:
        for blob, content in blobs.items():
            if not await has_blob(client, repository, blob.digest):
                await send_blob(client, repository, blob, content)
        manifest = Manifest.of(document)
        await put_manifest(client, repository.pinned(manifest.digest), manifest)
    except Refused as refusal:
        return refusal
    return None
