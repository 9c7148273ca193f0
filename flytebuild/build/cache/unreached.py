"""What of a remote cache no image of a plan reaches.

Whoever builds something else may reach it: a cache is shared by all who push to its registry. Nothing is lost with it
but the time of a build, so it may go when it is old, and when whoever removes it says so.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime

from msgspec import Struct

from flytebuild.build.cache.configs import CONFIG_TYPE
from flytebuild.build.cache.keys import keys_of_all
from flytebuild.build.refusal import unavailable
from flytebuild.events import Emit, ignore
from flytebuild.plan import Plan
from flytebuild.registry.client import Refused, RegistryClient
from flytebuild.registry.content import Blob, Manifest, fetch_manifest
from flytebuild.registry.layers import instant
from flytebuild.registry.reference import Reference
from flytebuild.registry.tags import counted, digests_of, list_tags

_OURS = re.compile(r"(?:v|d|all)-[0-9a-f]{32}")
_CREATED = "buildkit/createdat"
"""The annotation that says when a layer was made (buildkit `cache/remotecache/v1/chains.go`), in RFC 3339."""


class CachedResults(Struct, frozen=True):
    """A cache manifest with all its tags; `made` is when the latest of its layers was made."""

    digest: str
    references: tuple[str, ...]
    made: datetime
    layers: tuple[Blob, ...]

    @property
    def size(self) -> int:
        """Bytes of all its layers."""
        return sum(layer.size for layer in self.layers)


async def find(
    client: RegistryClient, repository: Reference, reached: Collection[str], until: datetime, emit: Emit = ignore
) -> tuple[CachedResults, ...]:
    """The manifests in a cache's repository that hold nothing of what is `reached`, and were made before `until`.

    Only those that have no tag but ours, and say of themselves that they are a cache. Raises RegistryUnavailableError.
    """
    try:
        tags = await digests_of(client, repository, await list_tags(client, repository), emit)
        digests = tuple(unreached(tags.items(), reached))
        asked = [fetch_manifest(client, repository.pinned(digest)) for digest in digests]
        manifests = await counted(f"results in `{repository.name}`", asked, emit)
        found = []
        for digest, manifest in zip(digests, manifests, strict=True):
            made = _made(manifest)
            if _is_cache(manifest) and made is not None and made < until:
                names = tuple(f"{repository.name}:{tag}" for tag, behind in tags.items() if behind == digest)
                found.append(CachedResults(digest, names, made, manifest.layers))
        return tuple(found)
    except Refused as refusal:
        raise unavailable(f"The cache in `{repository.name}` cannot be looked at", repository, refusal) from refusal


def reached_by(plan: Plan) -> frozenset[str]:
    """The tags of all results that a plan's images are made of, with a CA bundle for their steps and without."""
    keys = [key for has_bundle in (True, False) for key in keys_of_all(plan.images, has_bundle=has_bundle)]
    return frozenset(tag for key in keys for tag in key.closure())


def unreached(tags: Iterable[tuple[str, str]], reached: Collection[str]) -> Iterator[str]:
    """The digests that only tags of ours lead to, none of which is reached; `tags` come with what they lead to."""
    behind: dict[str, list[str]] = {}
    for tag, digest in tags:
        behind.setdefault(digest, []).append(tag)
    for digest, names in behind.items():
        if all(_OURS.fullmatch(name) and name not in reached for name in names):
            yield digest


def _is_cache(manifest: Manifest) -> bool:
    return (manifest.document.get("config") or {}).get("mediaType") == CONFIG_TYPE


def _made(manifest: Manifest) -> datetime | None:
    """When the latest layer was made; None where none says so."""
    said = [(layer.get("annotations") or {}).get(_CREATED, "") for layer in manifest.document.get("layers") or ()]
    # RFC 3339 in UTC sorts as text.
    return instant(max(said, default=""))
