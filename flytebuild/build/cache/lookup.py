"""Where a build's results are in remote caches."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from msgspec import Struct

from flytebuild.build.cache.keys import CacheKey
from flytebuild.buildkit.solve import Cache
from flytebuild.facts import Absent, Present, Unknown
from flytebuild.registry.client import RegistryClient
from flytebuild.registry.reference import Reference

IMPORTS = 8
"""Manifests that a build imports, those first that hold most of what it needs: every solve reads them all."""


class Found(Struct, frozen=True):
    """The manifests that hold results of a build, and the tags of all results that they hold, or what went wrong."""

    manifests: tuple[Reference, ...] = ()
    tags: frozenset[str] = frozenset()
    problem: str = ""

    @property
    def imports(self) -> tuple[Cache, ...]:
        """The same as what solves take."""
        return tuple(Cache("registry", {"ref": str(reference)}) for reference in self.manifests)


async def look_up(client: RegistryClient, places: Mapping[CacheKey, Reference]) -> Found:
    """Find the results that lie nearest to the images: asked from the images' own down, until none is missing.

    `places` has the repository that each image's key, and those below it, are looked for in.
    """
    holders: dict[Reference, int] = {}
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
                    holder = place.pinned(digest)
                    holders[holder] = holders.get(holder, 0) + 1
                    tags.update(key.closure())
                case Absent():
                    below.update({item.tag: (item, place) for item in key.below})
                case Unknown(reason=reason):
                    return Found(problem=reason)
        pending = {key: place for tag, (key, place) in below.items() if tag not in asked | tags}
    best = sorted(holders, key=lambda holder: (-holders[holder], str(holder)))
    return Found(tuple(best[:IMPORTS]), frozenset(tags))
