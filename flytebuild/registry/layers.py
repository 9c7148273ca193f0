"""The layers of an image in a registry, with what its history says of them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from flytebuild.registry.client import Refused, RegistryClient
from flytebuild.registry.content import fetch_manifest
from flytebuild.registry.reference import Reference
from flytebuild.size import StoredLayer


async def stored_layers(client: RegistryClient, reference: Reference) -> tuple[StoredLayer, ...]:
    """The layers of one image, the lowest first, their sizes compressed as the registry has them.

    Raises Refused where the registry does not answer, or what it has is no image of one platform.
    """
    manifest = await fetch_manifest(client, reference)
    if manifest.is_index:
        raise Refused(f"`{reference}` is for several platforms")
    digest = str((manifest.document.get("config") or {}).get("digest"))
    response = await client.request("GET", reference, f"blobs/{digest}")
    if not response.is_success or "sha256:" + hashlib.sha256(response.content).hexdigest() != digest:
        raise Refused(f"`{reference.registry}` does not have the config of `{reference}`", status=response.status_code)
    listed = manifest.document.get("layers") or ()
    made_by = _made_by(json.loads(response.content), len(listed))
    return tuple(
        StoredLayer(item["digest"], int(item["size"]), words) for item, words in zip(listed, made_by, strict=True)
    )


def _made_by(config: dict[str, Any], count: int) -> list[str]:
    """What the history says of each layer; nothing where it tells of another number of them."""
    history = [item.get("created_by") or "" for item in config.get("history") or () if not item.get("empty_layer")]
    return [str(words) for words in history] if len(history) == count else [""] * count
