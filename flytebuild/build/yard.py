"""Everything that builds the images of one plan: the BuildKits, the cache, and the policy that is stacked on them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from msgspec import Struct

from flytebuild.build.bases import BasesMounted
from flytebuild.build.builder import Builder, BuildKitBuilder, Limited
from flytebuild.build.cache import BuildCache, open_cache
from flytebuild.build.fail_fast import FailFast
from flytebuild.build.fleet import Fleet, Member
from flytebuild.build.measured import Measured
from flytebuild.build.placement import Weigh, affinities, by_kind
from flytebuild.build.push_watch import WatchedPushes
from flytebuild.build.recorded import Recorded
from flytebuild.build.retry import Retried
from flytebuild.build.shared_layers import with_shared_layers
from flytebuild.build.station import Reconnected, Station
from flytebuild.build.stores import Destination
from flytebuild.buildkit.address import Address, locate_all
from flytebuild.buildkit.connection import Worker
from flytebuild.buildkit.session.providers import Provider, StreamProvider
from flytebuild.config import Config
from flytebuild.engine import EngineAddress
from flytebuild.errors import EngineUnavailableError, UnavailableError
from flytebuild.events import Emit, Notice
from flytebuild.llb.proxies import Proxies, proxies_of
from flytebuild.plan import ImagePlan, LayerPlan, is_in_engine
from flytebuild.state import State


class Yard(Struct, frozen=True):
    """What builds images, and what is to be done when all of them have ended."""

    builder: Builder
    stations: Sequence[Station]
    _ends: Sequence[BuildKitBuilder]

    @property
    def shown(self) -> str:
        """Its BuildKits, for messages."""
        return ", ".join(f"`{station.address.shown}`" for station in self.stations)

    async def keep_cache(self, emit: Emit) -> None:
        """Write to the cache what was built, from where it was built."""
        for end in self._ends:
            await end.keep_cache(emit)


@asynccontextmanager
async def open_yard(
    images: Sequence[ImagePlan],
    config: Config,
    stores: Destination,
    state: State,
    providers: Sequence[Provider | StreamProvider],
    emit: Emit,
    *,
    fail_fast: bool,
) -> AsyncIterator[Yard]:
    """Connect to all configured builders, and stack on them what makes up our policy.

    Of a fleet those that do not answer are left out, with a notice. Raises EngineUnavailableError when none answers or
    one cannot publish these images.
    """
    must_push = not stores.is_public or not all(is_in_engine(image.reference) for image in images)
    stations = await _open(config, providers, emit, must_push=must_push)
    try:
        has_bundle = config.ca_bundle is not None
        cache = await open_cache(config, stores.client, images, emit, has_bundle=has_bundle)
        proxies = proxies_of(os.environ)
        cache = await with_shared_layers(cache, images, stations, stores, state, config, proxies, emit)
        ends = [_end(station, config, stores, cache, proxies, has_bundle=has_bundle) for station in stations]
        members = [
            _member(station, end, config, stores, state, is_alone=len(stations) == 1)
            for station, end in zip(stations, ends, strict=True)
        ]
        builder: Builder = members[0].builder
        if len(members) > 1:
            builder = Fleet(members, affinities(images, _weigher(state, stations)))
        if fail_fast:
            # Outermost, so that images that wait for their turn are cancelled as well.
            builder = FailFast(builder)
        yield Yard(builder, stations, ends)
    finally:
        await asyncio.gather(*(station.close() for station in stations))


def _end(
    station: Station, config: Config, stores: Destination, cache: BuildCache, proxies: Proxies, *, has_bundle: bool
) -> BuildKitBuilder:
    solver = WatchedPushes(station, stores.client, config.push_timeout)
    return BuildKitBuilder(solver, stores, cache, has_bundle, station.can_merge, proxies)


def _member(
    station: Station, end: BuildKitBuilder, config: Config, stores: Destination, state: State, *, is_alone: bool
) -> Member:
    """One BuildKit with its policy, the innermost first."""
    # Right before the solve: what is mounted is for the push that follows.
    builder: Builder = end
    if stores.is_public:
        builder = BasesMounted(end, stores.client)
        builder = Measured(builder, stores.client, state, end.has_bundle, end.can_merge, end.proxies)
    builder = Recorded(builder, state, station.address.shown)
    if is_alone:
        # In a fleet another one takes over at once.
        builder = Reconnected(builder, station)
    builder = Retried(builder)
    # Around all attempts: an image that is tried again keeps its turn.
    builder = Limited(builder, asyncio.Semaphore(config.jobs))
    return Member(station.address.shown, builder, frozenset({station.worker.platform}))


async def _open(
    config: Config, providers: Sequence[Provider | StreamProvider], emit: Emit, *, must_push: bool
) -> list[Station]:
    check = _refuse_unsuitable if must_push else _take_any
    stations = [Station(address, providers, check) for address in locate_all(config)]
    answers = await asyncio.gather(*(station.open() for station in stations), return_exceptions=True)
    opened = [station for station, answer in zip(stations, answers, strict=True) if answer is None]
    failed = [answer for answer in answers if answer is not None]
    fatal = next((item for item in failed if not isinstance(item, UnavailableError)), None)
    if fatal or not opened:
        await asyncio.gather(*(station.close() for station in opened))
        raise fatal or failed[0]
    for item in failed:
        emit(Notice(f"{item}; the other builders go on without it"))
    return opened


def _weigher(state: State, stations: Sequence[Station]) -> Weigh:
    """What a layer took the last time, in seconds, at any of them; where that is not known, a guess by its kind."""

    def weigh(layer: LayerPlan) -> float:
        found = (state.expected(station.address.shown, layer.summary) for station in stations)
        return max((record.seconds for record in found if record), default=by_kind(layer))

    return weigh


def _take_any(_address: Address, _worker: Worker) -> None:
    """Images that stay in an engine's store ask nothing of it."""


def _refuse_unsuitable(address: Address, worker: Worker) -> None:
    """A daemon that has no store but its cache can push; an engine only with containerd's."""
    if isinstance(address, EngineAddress) and not worker.has_containerd_store:
        raise EngineUnavailableError(
            "This Docker Engine cannot push what its BuildKit builds: it does not use the containerd image store",
            hint='set `{"features": {"containerd-snapshotter": true}}` in its daemon.json and restart it, '
            "or leave `registry` unset",
        )
