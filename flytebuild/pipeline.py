"""The main path: load, walk, specify, look, plan, build."""

from __future__ import annotations

import asyncio
import platform as host
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from flytebuild.authoring.environments import Definitions
from flytebuild.authoring.loader import load
from flytebuild.build.builder import Outcome
from flytebuild.build.images import build_images
from flytebuild.build.stores import EngineStore, RegistryStore, Stores
from flytebuild.config import Config
from flytebuild.events import Emit, ignore
from flytebuild.graph import EnvironmentNode
from flytebuild.plan import Plan, make_plan, reference
from flytebuild.registry.client import RegistryClient
from flytebuild.registry.reference import mirrored, parse
from flytebuild.spec.digests import digests
from flytebuild.spec.model import ImageDefinition, ImageSpec, Platform, ResolvedImage
from flytebuild.spec.specify import UV_IMAGE, specify


async def plan(config: Config, paths: Sequence[Path], targets: Sequence[str] = ()) -> Plan:
    """What the targets in these files need (everything that they define, without targets), and what is there of it."""
    return await plan_definitions(config, load(paths), targets)


async def plan_definitions(config: Config, definitions: Definitions, targets: Sequence[str] = ()) -> Plan:
    """The same for code that is loaded already."""
    return await plan_nodes(config, definitions.needed(targets))


async def plan_nodes(config: Config, nodes: Sequence[EnvironmentNode]) -> Plan:
    """The same for environments whose closure is known."""
    async with _outside() as (registry, stores):
        target = await stores.engine.platform() or _host_platform()
        specs = await _specify(nodes, config, registry, target)
        references = {reference(spec, digests(spec).tag, config.registry): spec for spec in specs.values()}
        return make_plan(nodes, specs, config.registry, await stores.observe_all(references))


async def build(config: Config, planned: Plan, emit: Emit = ignore) -> tuple[Outcome, ...]:
    """Build exactly what the plan says is missing."""
    async with _outside() as (_, stores):
        return await build_images(planned, config, stores, emit)


async def _specify(
    nodes: Sequence[EnvironmentNode], config: Config, registry: RegistryClient, target: Platform
) -> dict[str, ImageSpec]:
    """The pinned spec of every environment whose image is ours to build."""
    definitions = {node.name: node.image for node in nodes if isinstance(node.image, ImageDefinition)}
    asked = {definition.base for definition in definitions.values()} | ({UV_IMAGE} if definitions else set())

    async def resolve(name: str) -> tuple[str, ResolvedImage]:
        return name, await registry.resolve(name, parse(mirrored(name, config.mirrors)), target)

    found = dict(await asyncio.gather(*(resolve(name) for name in sorted(asked))))
    return {
        name: specify(definition, target, found[definition.base], found[UV_IMAGE])
        for name, definition in definitions.items()
    }


def _host_platform() -> Platform:
    """What an engine on this machine would run, where none answers."""
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(host.machine(), host.machine().lower())
    return Platform("linux", architecture)


@asynccontextmanager
async def _outside() -> AsyncIterator[tuple[RegistryClient, Stores]]:
    engine = EngineStore()
    try:
        async with RegistryClient() as registry:
            yield registry, Stores(RegistryStore(registry), engine)
    finally:
        engine.close()
