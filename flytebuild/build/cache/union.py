"""Several cache manifests of a repository as one, written without BuildKit: no result is touched for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from flytebuild.build.cache.configs import CONFIG_TYPE, united
from flytebuild.registry.client import MANIFEST_TYPES, Refused, RegistryClient
from flytebuild.registry.content import Blob, Manifest, fetch_blob, fetch_manifest, has_blob, put_manifest, send_blob
from flytebuild.registry.reference import Reference


async def unite(client: RegistryClient, sources: Sequence[Reference], target: Reference) -> Reference:
    """Put under `target`'s tag what the cache manifests `sources` of its repository hold; returns it by its digest.

    Raises Refused, also where one of them is no such manifest.
    """
    found = await asyncio.gather(*(fetch_manifest(client, source) for source in dict.fromkeys(sources)))
    if len(found) == 1:
        await put_manifest(client, target, found[0])
        return target.pinned(found[0].digest)
    documents = [manifest.document for manifest in found]
    try:
        configs = await asyncio.gather(*(_config(client, target, document) for document in documents))
        content = json.dumps(united(configs), sort_keys=True, separators=(",", ":")).encode()
        layers = {layer["digest"]: layer for document in documents for layer in document["layers"]}
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise Refused(f"`{target.name}` has a cache manifest that is none") from error
    config = Blob.of(content)
    if not await has_blob(client, target, config.digest):
        await send_blob(client, target, config, content)
    manifest = Manifest.of(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPES[0],
            "config": {"mediaType": CONFIG_TYPE, "digest": config.digest, "size": config.size},
            "layers": list(layers.values()),
        }
    )
    await put_manifest(client, target, manifest)
    return target.pinned(manifest.digest)


async def _config(client: RegistryClient, repository: Reference, document: dict[str, Any]) -> dict[str, Any]:
    found = json.loads(await fetch_blob(client, repository, document["config"]["digest"]))
    if not isinstance(found, dict):
        raise TypeError(f"{document['config']['digest']} is no object")
    return found
