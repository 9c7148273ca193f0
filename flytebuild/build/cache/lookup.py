"""Where a build's results are in remote caches."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from flytebuild.build.cache.keys import CacheKey
from flytebuild.buildkit.solve import Cache
from flytebuild.facts import Absent, Present, Unknown
from flytebuild.registry.client import RegistryClient
from flytebuild.registry.reference import Reference

IMPORTS = 8
"""Manifests that a build imports, those first that hold most of what it needs: every solve reads them all."""


class Found(Struct, frozen=True):
    """Results of a build that are there: where those are that were asked for, by their tags; and the tags of all, those
    below included. Or what went wrong."""

    places: Mapping[str, Reference] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    problem: str = ""

    @property
    def manifests(self) -> tuple[Reference, ...]:
        """The manifests that hold them, the fullest first, no more than are imported."""
        holders = Counter(self.places.values())
        return tuple(sorted(holders, key=lambda holder: (-holders[holder], str(holder)))[:IMPORTS])

    def without(self, tags: frozenset[str]) -> Found:
        """The same but for where these results are."""
        return Found({tag: place for tag, place in self.places.items() if tag not in tags}, self.tags, self.problem)

    def lacking(self, tags: frozenset[str]) -> Found:
        """The same as if these results had not been there."""
        return replace(self.without(tags), tags=self.tags - tags)


def imports(manifests: tuple[Reference, ...]) -> tuple[Cache, ...]:
    """The same as what solves take."""
    return tuple(Cache("registry", {"ref": str(reference)}) for reference in manifests)


async def look_up(client: RegistryClient, places: Mapping[CacheKey, Reference]) -> Found:
    """Find the results that lie nearest to the images: asked from the images' own down, until none is missing.

    `places` has the repository that each image's key, and those below it, are looked for in.
    """
    found: dict[str, Reference] = {}
    tags: set[str] = set()
    asked: set[str] = set()
    pending = dict(places)
    while pending:
        facts = await asyncio.gather(*(client.presence(place.tagged(key.tag)) for key, place in pending.items()))
        below: dict[str, tuple[CacheKey, Reference]] = {}
        for (key, place), fact in zip(pending.items(), facts, strict=True):
            asked.add(key.tag)
            match fact:
                case Present(digest=digest):
                    found[key.tag] = place.pinned(digest)
                    tags.update(key.closure())
                case Absent():
                    below.update({item.tag: (item, place) for item in key.below})
                case Unknown(reason=reason):
                    return Found(problem=reason)
        pending = {key: place for tag, (key, place) in below.items() if tag not in asked | tags}
    return Found(found, frozenset(tags))
