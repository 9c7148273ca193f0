"""What an image in a registry says of itself: its labels, its age, its layers with what its history says of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from flytebuild.registry.client import Refused, RegistryClient
from flytebuild.registry.content import fetch_blob, fetch_manifest
from flytebuild.registry.reference import Reference
from flytebuild.size import StoredLayer

_FRACTION = re.compile(r"\.\d+")


class Described(Struct, frozen=True):
    """An image's labels and its layers, the lowest first; `made` is when, where it says so.

    Of an index of several platforms there are the annotations, and no layers.
    """

    labels: Mapping[str, str]
    made: datetime | None = None
    layers: tuple[StoredLayer, ...] = ()
    is_index: bool = False


async def describe(client: RegistryClient, reference: Reference) -> Described:
    """What there is under a reference; sizes are compressed, as the registry has them. Raises Refused."""
    manifest = await fetch_manifest(client, reference)
    try:
        if manifest.is_index:
            return Described(dict(manifest.document.get("annotations") or {}), is_index=True)
        digest = str(manifest.document["config"]["digest"])
        config = json.loads(await fetch_blob(client, reference, digest))
        listed = manifest.document.get("layers") or ()
        made_by = _made_by(config, len(listed))
        layers = (
            StoredLayer(item["digest"], int(item["size"]), words) for item, words in zip(listed, made_by, strict=True)
        )
        labels = (config.get("config") or {}).get("Labels") or {}
        return Described(dict(labels), instant(str(config.get("created") or "")), tuple(layers))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Refused(f"`{reference}` has a manifest or config of a form that is not an image's") from error


async def stored_layers(client: RegistryClient, reference: Reference) -> tuple[StoredLayer, ...]:
    """The layers of one image. Raises Refused, also where it is for several platforms."""
    found = await describe(client, reference)
    if found.is_index:
        raise Refused(f"`{reference}` is for several platforms")
    return found.layers


def instant(text: str) -> datetime | None:
    """A time in RFC 3339, to the second; None where there is none: Go writes the year 1 then."""
    try:
        found = datetime.fromisoformat(_FRACTION.sub("", text).replace("Z", "+00:00"))
    except ValueError:
        return None
    return found if found.tzinfo and found.year > 1 else None


def _made_by(config: dict[str, Any], count: int) -> list[str]:
    """What the history says of each layer; nothing where it tells of another number of them."""
    history = [item.get("created_by") or "" for item in config.get("history") or () if not item.get("empty_layer")]
    return [str(words) for words in history] if len(history) == count else [""] * count
