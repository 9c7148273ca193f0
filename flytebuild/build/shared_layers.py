"""Layers that images share are made before the images, and kept in the remote cache before those are pushed.

BuildKit pushes a layer that it has made itself to every repository anew. One that it knows from a cache which the solve
imports it has the registry mount there instead: so the images' solves import what these layers were written to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from flytebuild.build.cache import BuildCache, RemoteCache
from flytebuild.build.push_watch import WatchedPushes
from flytebuild.build.recorded import noted
from flytebuild.build.solves import Solves
from flytebuild.build.station import Station
from flytebuild.build.stores import Destination
from flytebuild.buildkit.progress import Progress
from flytebuild.buildkit.solve import SolveError
from flytebuild.config import Config
from flytebuild.events import WHEEL_LAYERS, Emit, Event, Notice
from flytebuild.history import remember_made
from flytebuild.llb.marshal import marshal
from flytebuild.llb.state import State as Layer
from flytebuild.llb.wheels import wheel_layer
from flytebuild.plan import ImagePlan
from flytebuild.spec.images import Platform
from flytebuild.spec.layers import Pinned, WheelLayer
from flytebuild.state import State


async def with_shared_layers(
    cache: BuildCache,
    images: Sequence[ImagePlan],
    stations: Sequence[Station],
    stores: Destination,
    state: State,
    config: Config,
    emit: Emit,
) -> BuildCache:
    """The cache that has the wheel layers of these images as well.

    A layer that cannot be made is left to the images, which tell why.
    """
    if not isinstance(cache, RemoteCache):
        return cache
    for platform, layers in wheel_layers(images).items():
        station = _station(stations, platform)
        if station is not None:
            solver = WatchedPushes(station, stores.client, config.push_timeout)
            async with noted(state, station.address.shown, emit) as take:
                cache = await make_first(cache, [wheel_layer(layer) for layer in layers], solver, config.jobs, take)
            remember_made((layer for layer in layers if cache.has(wheel_layer(layer))), state)
    return cache


async def make_first(cache: RemoteCache, layers: Sequence[Layer], solver: Solves, jobs: int, emit: Emit) -> RemoteCache:
    """The cache that has these layers: as it was found, or once they have been made, `jobs` at a time."""
    found = await cache.having(layers)
    if found is not None:
        return found
    loop, turns = asyncio.get_running_loop(), asyncio.Semaphore(jobs)

    def tell(event: Event) -> None:
        loop.call_soon_threadsafe(emit, event)

    async def make(layer: Layer) -> None:
        async with turns:
            await solver.solve(marshal(layer), None, Progress(WHEEL_LAYERS, tell), WHEEL_LAYERS, imports=cache.imports)

    missing = [layer for layer in layers if not cache.has(layer)]
    if missing:
        count = "comes a wheel layer" if len(missing) == 1 else f"come {len(missing)} wheel layers"
        emit(Notice(f"before the images {count}, to be mounted in their repositories"))
    ends = await asyncio.gather(*map(make, missing), return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException) and not isinstance(end, SolveError):
            raise end
    return cache if any(ends) else await cache.with_layers(layers, solver, emit)


def wheel_layers(images: Sequence[ImagePlan]) -> Mapping[Platform, Sequence[WheelLayer]]:
    """The wheel layers of all these images, each once, in the order of their keys."""
    steps = [step for image in images if image.spec for step in image.spec.steps]
    every = {layer.key: layer for step in steps if isinstance(step.layer, Pinned) for layer in step.layer.layers}
    found: dict[Platform, list[WheelLayer]] = {}
    for key in sorted(every):
        found.setdefault(every[key].platform, []).append(every[key])
    return found


def _station(stations: Sequence[Station], platform: Platform) -> Station | None:
    """Who makes layers for a platform: a builder that needs no emulation for it, if there is one."""
    able = [station for station in stations if station.can_merge]
    native = [station for station in able if station.worker.platform == platform]
    return next(iter((*native, *able)), None)
