"""The images that there are: what they have, which of them nobody needs any more, and to delete those."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flytebuild.config import Config
from flytebuild.errors import UsageError
from flytebuild.events import Emit, ignore
from flytebuild.leftovers import Leftover, leftovers
from flytebuild.pipeline import connected, repositories_of
from flytebuild.plan import Plan, registry_of
from flytebuild.plan.unknown import undecided
from flytebuild.size import StoredImage, StoredLayer, with_base_named, with_imports_named, with_steps_named

if TYPE_CHECKING:
    from datetime import datetime

    from flytebuild.build.cache.unreached import CachedResults
    from flytebuild.leftovers import Named
    from flytebuild.spec.model import ImageSpec


async def unreached(config: Config, planned: Plan, emit: Emit = ignore) -> tuple[Leftover, ...]:
    """What is in the repositories of a plan's images, and no environment of it reaches.

    Raises UnavailableError, of a kind that tells who does not answer, also where it is not known what is needed.
    """
    if error := undecided(planned.images):
        raise error
    repositories = repositories_of(image.reference for image in planned.images if image.digest)
    async with connected(config, emit) as (stores, _):
        return leftovers(planned, await stores.tagged(repositories, emit))


async def forget(
    config: Config,
    planned: Plan,
    images: Sequence[Leftover],
    results: Sequence[CachedResults] = (),
    emit: Emit = ignore,
) -> None:
    """Delete images, and results of the cache, that a plan does not reach, for good.

    Raises RegistryUnavailableError and EngineUnavailableError at the first that stays.
    """
    found: tuple[Named, ...] = (*images, *results)
    async with connected(config, emit) as (stores, state):
        try:
            for leftover in found:
                await stores.forget(leftover)
        finally:
            state.outdate_answers(repositories_of(name for leftover in found for name in leftover.references))
            if results:
                from flytebuild.measures import forget_cached

                # What they held is not known by the names that a plan has for it; what it reaches has stayed.
                kept = {layer.digest for image in planned.images for layer in image.layers}
                kept |= {layer.key for layer in planned.wheel_layers}
                for registry in {registry_of(image.reference) for image in planned.images}:
                    forget_cached(registry, kept, state)


async def unreached_results(
    config: Config, planned: Plan, until: datetime, emit: Emit = ignore
) -> tuple[CachedResults, ...]:
    """What is in the remote cache that no image of a plan reaches, and was made before `until`.

    Raises UsageError where there is no repository of a cache, RegistryUnavailableError.
    """
    # Loaded here: it needs what builds, which everything else here does not.
    from flytebuild.build.cache import repository_of, unreached

    repository = repository_of(config)
    if repository is None:
        raise UsageError(
            f"There is no remote cache: `cache` is `{config.cache}`" if config.cache else "There is no remote cache",
            hint="it is in a repository of a registry; set `registry`, or `cache` to a repository",
        )
    async with connected(config, emit) as (stores, _):
        return await unreached.find(stores.client, repository, unreached.reached_by(planned), until, emit)


async def stored(config: Config, planned: Plan, emit: Emit = ignore) -> list[StoredImage]:
    """The layers of those images of a plan that are ours and there; an index is told by the images that it lists.

    Raises RegistryUnavailableError and EngineUnavailableError.
    """
    there = [image for image in planned.images if image.status == "present" and not image.members]
    async with connected(config, emit) as (stores, _):
        found = await asyncio.gather(*(stores.layers(image.reference) for image in there))
    pairs = zip(there, found, strict=True)
    return [
        StoredImage(image.reference, image.environments, _named(layers, image.spec))
        for image, layers in pairs
        if layers
    ]


def _named(layers: tuple[StoredLayer, ...], spec: ImageSpec | None) -> tuple[StoredLayer, ...]:
    """The layers of an image as its plan calls them."""
    from flytebuild.llb.histories import layers_upon_base, steps_told  # only sizes tell steps

    if spec is None or spec.base is None:
        return layers
    lowest = spec.steps[0].layer.summary if spec.steps else ""
    named = with_steps_named(layers, steps_told(spec))
    named = with_imports_named(named, layers_upon_base(spec), spec.base.size)
    return with_base_named(named, f"base {spec.base.reference}", spec.base.size, lowest)
