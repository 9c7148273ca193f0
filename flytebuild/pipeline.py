"""The main path: load, walk, specify, look, plan, build."""

from __future__ import annotations

import asyncio
import platform as host
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import platformdirs

from flytebuild.authoring.environments import Definitions
from flytebuild.authoring.images import Reader
from flytebuild.authoring.loader import load
from flytebuild.build.builder import Outcome
from flytebuild.build.images import build_images
from flytebuild.build.stores import EngineStore, RegistryStore, Stores
from flytebuild.config import Config
from flytebuild.events import Emit, ignore
from flytebuild.graph import EnvironmentNode
from flytebuild.plan import Plan, make_plan, references
from flytebuild.registry.client import RegistryClient
from flytebuild.registry.reference import mirrored, parse
from flytebuild.spec.images import Platform, ResolvedImage
from flytebuild.spec.model import ExternalImage, ImageSpec
from flytebuild.spec.specify import images_needed, specify
from flytebuild.trees.statcache import StatCache

_STAT_CACHE = Path(platformdirs.user_cache_dir("flytebuild", appauthor=False)) / "files.sqlite"


async def plan(config: Config, paths: Sequence[Path], targets: Sequence[str] = (), emit: Emit = ignore) -> Plan:
    """What the targets in these files need (everything that they define, without targets), and what is there of it."""
    return await plan_definitions(config, load(paths), targets, emit)


async def plan_definitions(
    config: Config,
    definitions: Definitions,
    targets: Sequence[str] = (),
    emit: Emit = ignore,
    *,
    outputs: Sequence[Path] = (),
) -> Plan:
    """The same for code that is loaded already. `outputs` are files that come of it, which no image may take in."""
    with reader(config, emit, outputs) as read:
        nodes = definitions.needed(targets, read)
    return await plan_nodes(config, nodes)


async def plan_nodes(config: Config, nodes: Sequence[EnvironmentNode]) -> Plan:
    """The same for environments whose closure is known."""
    async with _outside() as (registry, stores):
        native = await stores.engine.platform() or _host_platform()
        wanted = tuple(Platform.parse(text) for text in config.platforms) or (native,)
        specs = await _specify(nodes, config, registry, wanted)
        asked = [item for variants in specs.values() for item in references(variants, config.registry)]
        return make_plan(nodes, specs, config.registry, await stores.observe_all(dict.fromkeys(asked)))


async def build(config: Config, planned: Plan, emit: Emit = ignore, *, fail_fast: bool = False) -> tuple[Outcome, ...]:
    """Build exactly what the plan says is missing; with `fail_fast` nothing more once an image has failed."""
    async with _outside() as (_, stores):
        return await build_images(planned, config, stores, emit, fail_fast=fail_fast)


async def _specify(
    nodes: Sequence[EnvironmentNode], config: Config, registry: RegistryClient, platforms: Sequence[Platform]
) -> dict[str, dict[Platform, ImageSpec]]:
    """The pinned specs of every environment whose image is ours to build, one for each platform."""
    definitions = {node.name: node.image for node in nodes if not isinstance(node.image, ExternalImage)}
    asked = sorted({name for definition in definitions.values() for name in images_needed(definition)})

    async def resolve(name: str, platform: Platform) -> ResolvedImage:
        return await registry.resolve(name, parse(mirrored(name, config.mirrors)), platform)

    found = {
        platform: dict(zip(asked, await asyncio.gather(*(resolve(name, platform) for name in asked)), strict=True))
        for platform in platforms
    }
    return {
        name: {platform: specify(definition, platform, found[platform]) for platform in platforms}
        for name, definition in definitions.items()
    }


def _host_platform() -> Platform:
    """What an engine on this machine would run, where none answers."""
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(host.machine(), host.machine().lower())
    return Platform("linux", architecture)


@contextmanager
def reader(config: Config, emit: Emit = ignore, outputs: Sequence[Path] = ()) -> Iterator[Reader]:
    """What reads images, remembering the digests of files that did not change since the last time."""
    cache = StatCache.open(_STAT_CACHE, emit=emit) if config.stat_cache else None
    try:
        yield Reader(cache, emit, outputs=(config.home, _STAT_CACHE, *outputs))
    finally:
        if cache:
            cache.close()


@asynccontextmanager
async def _outside() -> AsyncIterator[tuple[RegistryClient, Stores]]:
    engine = EngineStore()
    try:
        async with RegistryClient() as registry:
            yield registry, Stores(RegistryStore(registry), engine)
    finally:
        engine.close()
