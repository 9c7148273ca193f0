"""Layers that images share are made before the images, and kept in the remote cache before those are pushed.

BuildKit pushes a layer that it has made itself to every repository anew. One that it knows from a cache which the solve
imports it has the registry mount there instead: so the images' solves import what these layers were written to. Each is
written by the solve that makes it, compressed and sent while others are still made; then one manifest is put together
of theirs.

What layers are made on has a short solve of its own before. Whoever asks BuildKit for a step's result while another
solve that has executed the step goes on is not told by what the result is known, and does not find what a cache has on
top of it (moby/buildkit#4674): somebody who builds on the same engine would make again what the registry has.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from msgspec import Struct, field

from flytebuild.build.cache import BuildCache, RemoteCache
from flytebuild.build.cache.export import EXPORTING
from flytebuild.build.cache.keys import shared_layers, wheel_layers
from flytebuild.build.push_watch import WatchedPushes
from flytebuild.build.recorded import noted
from flytebuild.build.solves import Solves
from flytebuild.build.station import Station
from flytebuild.build.stores import Destination
from flytebuild.buildkit.progress import Progress
from flytebuild.buildkit.solve import Cache, SolveError
from flytebuild.config import Config
from flytebuild.events import WHEEL_LAYERS, Emit, Event, Notice, StepStarted
from flytebuild.history import remember_made
from flytebuild.llb.lower import beginning, program_alone
from flytebuild.llb.marshal import marshal
from flytebuild.llb.merge import merging
from flytebuild.llb.proxies import Proxies
from flytebuild.llb.state import State as Layer
from flytebuild.llb.wheels import ground_of, only_wheel, wheel_layer
from flytebuild.plan import ImagePlan
from flytebuild.spec.images import Platform
from flytebuild.state import State


async def with_shared_layers(
    cache: BuildCache,
    images: Sequence[ImagePlan],
    stations: Sequence[Station],
    stores: Destination,
    state: State,
    config: Config,
    proxies: Proxies,
    emit: Emit,
) -> BuildCache:
    """The cache that has the wheel layers of these images as well.

    A layer that cannot be made is left to the images, which tell why.
    """
    if not isinstance(cache, RemoteCache):
        return cache
    wheels = wheel_layers(images)
    for platform, layers in shared_layers(images).items():
        station = _station(stations, platform)
        if station is None:
            continue
        solver = WatchedPushes(station, stores.client, config.push_timeout)
        beginnings = _beginnings(images, platform, proxies, has_bundle=cache.has_bundle)
        async with noted(state, station.address.shown, emit) as take:
            making = Making(solver, asyncio.Semaphore(min(config.jobs, _processors())), take)
            cache = await make_first(cache, layers, beginnings, making)
        remember_made((layer for layer in wheels[platform] if cache.has(wheel_layer(layer))), state)
    return cache


class Making(Struct, frozen=True):
    """Makes layers by `solver`, as many at a time as there are `turns`.

    While one is compressed and sent, the next one is made: that takes other things.
    """

    solver: Solves
    turns: asyncio.Semaphore
    emit: Emit
    _grounds: dict[Layer, asyncio.Task[None]] = field(default_factory=dict)

    async def fetch(self, file: Layer) -> None:
        """Have the builder fetch a file, which takes no turn. Raises SolveError."""
        await self._solve(file, self.emit)

    async def lay(self, ground: Layer) -> None:
        """Make what layers are made on, unless that is done, or wait for it. Raises SolveError."""
        if ground not in self._grounds:
            self._grounds[ground] = asyncio.create_task(self.make(ground))
        await self._grounds[ground]

    async def make(self, layer: Layer, *exports: Cache) -> None:
        """Make one of which no cache is known. Raises SolveError."""
        turn = Turn(self.turns)

        def take(event: Event) -> None:
            if isinstance(event, StepStarted) and event.name.startswith(EXPORTING):
                turn.end()
            self.emit(event)

        async with turn:
            await self._solve(layer, take, *exports)

    async def _solve(self, state: Layer, take: Emit, *exports: Cache) -> None:
        loop = asyncio.get_running_loop()

        def take_from_thread(event: Event) -> None:
            loop.call_soon_threadsafe(take, event)

        progress = Progress(WHEEL_LAYERS, take_from_thread)
        progress.merging = merging(state)
        await self.solver.solve(marshal(state), None, progress, WHEEL_LAYERS, exports=exports)


@dataclass
class Turn:
    """One of several `turns`, which may end before what it was taken for."""

    turns: asyncio.Semaphore
    is_taken: bool = False

    async def __aenter__(self) -> None:
        await self.turns.acquire()
        self.is_taken = True

    async def __aexit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Let the next one have it."""
        if self.is_taken:
            self.is_taken = False
            self.turns.release()


async def make_first(
    cache: RemoteCache, layers: Sequence[Layer], beginnings: Iterable[Layer], making: Making
) -> RemoteCache:
    """The cache that has these layers: as it was found, or once those that it lacks, or has lost, have been made.

    Large wheels are fetched from the start, whenever their layers' turns are. What images begin with is fetched and
    made meanwhile as well, since they wait for that. One layer that fails is no reason to do without the others.
    """
    if whole := await cache.together(layers):
        return await cache.with_layers(layers, making.emit, whole=whole)
    missing = [layer for layer in layers if not cache.has(layer)]
    if missing:
        count = "comes a layer" if len(missing) == 1 else f"come {len(missing)} layers"
        making.emit(Notice(f"before the images {count}, to be mounted in their repositories"))
    # Those that the cache has are fetched by whoever needs them, if anybody does.
    begun = [making.make(layer) for layer in beginnings if missing and not cache.has(layer)]
    if len(missing) > 1:
        begun += [making.fetch(wheel) for wheel in filter(None, map(only_wheel, missing))]
    made = [_have(layer, cache, making) for layer in layers]
    ends = await asyncio.gather(*begun, *made, return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException) and not isinstance(end, SolveError):
            raise end
    failed = {layer for layer, end in zip(layers, ends[len(begun) :], strict=True) if end}
    there = [layer for layer in layers if layer not in failed]
    return await cache.apart(layers).without(failed).with_layers(there, making.emit)


async def _have(layer: Layer, cache: RemoteCache, making: Making) -> None:
    """Make a layer unless the cache has it. Raises SolveError."""
    if cache.has(layer):
        if await cache.still_has(layer):
            return
        making.emit(Notice(f"`{cache.repository.name}` has lost the {layer.vertex.name}, which is made again"))
    if ground := ground_of(layer):
        await making.lay(ground)
    await making.make(layer, cache.place_of(layer))


def _processors() -> int:
    """How many steps a builder is given at a time, if it has as many processors as this machine.

    Each step unpacks in one thread and compiles in as many as there are processors. More of them would only hold up
    the largest, which is made first since it takes longest.
    """
    return max(2, os.cpu_count() or 1)


def _beginnings(
    images: Iterable[ImagePlan], platform: Platform, proxies: Proxies, *, has_bundle: bool
) -> Iterable[Layer]:
    """What those images begin with that have wheel layers, each once."""
    specs = [image.spec for image in images if image.spec and image.wheel_layers and image.spec.platform == platform]
    # A program that is a layer is one of those that images share.
    own = (spec for spec in specs if program_alone(spec) is None)
    return dict.fromkeys(beginning(spec, has_bundle=has_bundle, proxies=proxies) for spec in own)


def _station(stations: Sequence[Station], platform: Platform) -> Station | None:
    """Who makes layers for a platform: a builder that needs no emulation for it, if there is one."""
    able = [station for station in stations if station.can_merge]
    native = [station for station in able if station.worker.platform == platform]
    return next(iter((*native, *able)), None)
