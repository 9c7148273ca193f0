"""What the images of a plan are, exactly: what they start from by digest, and what they install as a lock has it."""

from __future__ import annotations

import asyncio
import platform as host
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from flytebuild.config import Config
from flytebuild.errors import DefinitionError
from flytebuild.events import Emit, Notice
from flytebuild.graph import EnvironmentNode
from flytebuild.looking import Outside, Source
from flytebuild.spec.images import Platform, ResolvedImage
from flytebuild.spec.model import ExternalImage
from flytebuild.spec.specify import Specifier, frontends_needed, images_needed
from flytebuild.state import State

if TYPE_CHECKING:
    from flytebuild.registry.client import RegistryClient
    from flytebuild.wheels.lock import Lock, Specs

Decide: TypeAlias = "Callable[[Specs], Awaitable[Lock | None]]"
"""Says what layers come to where there is no lock; None where that is nobody's business."""


async def pinned(
    nodes: Sequence[EnvironmentNode],
    config: Config,
    source: Source,
    emit: Emit,
    decide: Decide,
    refused: dict[str, DefinitionError] | None = None,
) -> Specs:
    """The specs of environments, with what is locked where there is a lock, as layers that images share.

    `refused` is as for `specified`. Raises as that and `flytebuild.pinning.locked` do, and whatever `decide` raises.
    """
    kept = _lock(config)
    wanted = await platforms(config, source, emit)
    specs = await specified(nodes, source, wanted, kept, refused)
    lock = kept or await decide(specs)
    if lock is None:
        return specs
    # Loaded here: only who has a lock needs what knows how wheels are installed.
    from flytebuild.pinning import locked, sharing, untouched
    from flytebuild.wheels.lock import apply

    specs = locked.applied(config, lock, specs, emit) if kept else apply(specs, lock)[0]
    if config.wheel_layers == "off":
        return specs

    async def resolve(name: str, platform: Platform) -> ResolvedImage:
        if kept:
            return locked.tool(config, kept, name, platform)
        from flytebuild.pinning import unlocked

        return await unlocked.tool(source, name, platform, emit)

    return untouched.with_bases_untouched(await sharing.shared(specs, resolve), lock.ready)


async def decided(config: Config, outside: Outside, state: State, emit: Emit, specs: Specs) -> Lock | None:
    """What layers come to without a lock, if that is asked for."""
    if config.wheel_layers != "always":
        return None
    # Loaded here: most plans decide nothing.
    from flytebuild.pinning import unlocked

    async def connect() -> RegistryClient:
        return (await outside.stores()).client

    return await unlocked.decided(config, specs, connect, state, emit)


async def undecided(_: Specs) -> Lock | None:
    """Nothing: the lock alone counts."""
    return None


def _lock(config: Config) -> Lock | None:
    """The lock that there is; nothing that knows locks is loaded where there is none, and none is wanted."""
    if not (config.locked or "lock" in config.sources or (config.lock and config.lock.exists())):
        return None
    from flytebuild.pinning import locked

    return locked.read(config)


async def platforms(config: Config, source: Source, emit: Emit) -> tuple[Platform, ...]:
    """What images are for: as it is configured, else what the builder runs without emulation."""
    return tuple(map(Platform.parse, config.platforms)) or (await _native(source, config, emit),)


async def specified(
    nodes: Sequence[EnvironmentNode],
    source: Source,
    platforms: Sequence[Platform],
    lock: Lock | None,
    refused: dict[str, DefinitionError] | None = None,
) -> Specs:
    """The specs of every environment whose image is ours to build, one for each platform.

    Images that the lock has a digest of are those, whatever their names lead to by now. Errors of single environments
    are put into `refused` where that is given; else UnsupportedImageError is raised for the first.
    """
    definitions = {node.name: node.image for node in nodes if not isinstance(node.image, ExternalImage)}
    asked = sorted({name for definition in definitions.values() for name in images_needed(definition)})
    readers = sorted({name for definition in definitions.values() for name in frontends_needed(definition)})

    async def resolve(name: str, platform: Platform) -> ResolvedImage:
        return await source.image(name, platform, lock.digest_of(name, platform) if lock else None)

    found = {
        platform: dict(zip(asked, await asyncio.gather(*(resolve(name, platform) for name in asked)), strict=True))
        for platform in platforms
    }
    pinned = await asyncio.gather(*(source.image(name, None) for name in readers))
    frontends = dict(zip(readers, pinned, strict=True))
    specifiers = {platform: Specifier(platform, images, frontends) for platform, images in found.items()}
    specs = {}
    for name, definition in definitions.items():
        try:
            specs[name] = {platform: specifier.specify(definition) for platform, specifier in specifiers.items()}
        except DefinitionError as error:
            if refused is None:
                raise
            refused[name] = error
    return specs


async def _native(source: Source, config: Config, emit: Emit) -> Platform:
    """What the builder runs without emulation; what an engine on this machine would, where none answers."""
    found = await source.platform()
    if found is None:
        architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(host.machine(), host.machine().lower())
        found = Platform("linux", architecture)
        why = "Nobody may be asked what the builder runs" if config.offline else "No Docker Engine answers"
        emit(Notice(f"{why}, so images are planned for `{found}`, as this machine would run them"))
    return found
