"""Which packages of a plan's images become layers that images share: what that needs is looked up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from flytebuild.spec.images import Platform, ResolvedImage
from flytebuild.wheels.lock import Specs
from flytebuild.wheels.recipe import tools_needed, with_wheel_layers

Resolve: TypeAlias = Callable[[str, Platform], Awaitable[ResolvedImage]]
"""Looks an image up for a platform."""


async def shared(specs: Specs, resolve: Resolve) -> Specs:
    """The specs with wheel layers where packages are pinned and that comes to the same; each image looked up once."""
    asked = {(tool, item) for found in specs.values() for item, spec in found.items() for tool in tools_needed(spec)}
    order = sorted(asked, key=str)
    images = dict(zip(order, await asyncio.gather(*(resolve(*item) for item in order)), strict=True))
    return {
        name: {
            platform: with_wheel_layers(spec, {tool: images[tool, platform] for tool in tools_needed(spec)})
            for platform, spec in variants.items()
        }
        for name, variants in specs.items()
    }
