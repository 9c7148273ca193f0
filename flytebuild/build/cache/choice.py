"""Which cache a build has: by the configuration, and by what the registry takes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from flytebuild.build.cache.inline import InlineCache
from flytebuild.build.cache.keys import BuiltImage, key_of_last, keys_of_all
from flytebuild.build.cache.local import PREFIX, LocalCache
from flytebuild.build.cache.lookup import look_up
from flytebuild.build.cache.probe import why_no_cache
from flytebuild.build.cache.remote import RemoteCache
from flytebuild.build.solves import Solves
from flytebuild.buildkit.solve import Cache
from flytebuild.config import Config
from flytebuild.events import Emit, Notice
from flytebuild.plan import ImagePlan, is_in_engine
from flytebuild.registry.client import RegistryClient
from flytebuild.registry.reference import Reference, parse

REPOSITORY = "flytebuild-cache"
"""Where the cache is in a registry, unless the configuration says otherwise."""


class BuildCache(Protocol):
    """The cache of one build."""

    @property
    def imports(self) -> tuple[Cache, ...]:
        """What every solve of the build looks its results up in."""

    @property
    def exports(self) -> tuple[Cache, ...]:
        """What every image's solve writes along with the image."""

    async def keep(self, built: Sequence[BuiltImage], solver: Solves, emit: Emit, *, all_of_it: bool) -> None:
        """Write what the images have that was not there before, when all of them have ended. Trouble is a notice.

        `all_of_it` doubts what was there before.
        """


class NoCache(Struct, frozen=True):
    """Where there is none."""

    @property
    def imports(self) -> tuple[Cache, ...]:
        return ()

    @property
    def exports(self) -> tuple[Cache, ...]:
        return ()

    async def keep(self, built: Sequence[BuiltImage], solver: Solves, emit: Emit, *, all_of_it: bool) -> None:
        pass


async def open_cache(
    config: Config, client: RegistryClient, images: Sequence[ImagePlan], emit: Emit, *, has_bundle: bool
) -> BuildCache:
    """The cache for building these images. A registry that keeps none is told in a notice, and builds go on."""
    if config.cache == "inline":
        return await _inline(client, images, has_bundle)
    if folder := local_folder(config):
        keys = keys_of_all(images, has_bundle=has_bundle)
        opening = partial(LocalCache.open, folder, keys, config.compression, has_bundle=has_bundle)
        return await asyncio.to_thread(opening)
    repository = repository_of(config)
    if repository is None:
        return NoCache()
    keys = keys_of_all(images, has_bundle=has_bundle)
    found = await look_up(client, dict.fromkeys(keys, repository))
    # Of a repository that is not there yet, some registries say only that it may not be looked into.
    if keys and not found.manifests and (refusal := await why_no_cache(client, repository)):
        if refusal.status is None or refusal.status >= 500:
            emit(Notice(f"there is no cache in this build: {refusal}"))
            return NoCache()
        emit(Notice(f"`{repository.name}` takes no cache, so images keep what they can of it: {refusal}"))
        return await _inline(client, images, has_bundle)
    if found.problem:
        emit(Notice(f"the cache in `{repository.name}` was not looked into: {found.problem}"))
    return RemoteCache(client, repository, config.compression, has_bundle, found)


def local_folder(config: Config) -> Path | None:
    """The folder of the client's that the cache is in, if it is in one."""
    return Path(config.cache.removeprefix(PREFIX)) if config.cache and config.cache.startswith(PREFIX) else None


async def _inline(client: RegistryClient, images: Sequence[ImagePlan], has_bundle: bool) -> BuildCache:
    pushed = [image for image in images if image.spec and not is_in_engine(image.reference)]
    keys = {image.reference: key_of_last(image.spec, has_bundle=has_bundle) for image in pushed if image.spec}
    places = {key: parse(reference) for reference, key in keys.items() if key}
    return InlineCache(client, has_bundle, await look_up(client, places))


def repository_of(config: Config) -> Reference | None:
    """The repository that the cache is in; None where there is none, or it is somewhere else."""
    if config.cache in ("off", "inline") or local_folder(config) or not (config.cache or config.registry):
        return None
    return parse(config.cache or f"{config.registry}/{REPOSITORY}")
