"""Which packages of a plan's images become layers that images share: what that needs is looked up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TypeAlias
from urllib.parse import urlsplit

from flytebuild.llb.trust import INDEX_VARIABLES
from flytebuild.spec.images import Platform, ResolvedImage
from flytebuild.wheels.lock import Specs
from flytebuild.wheels.recipe import tools_needed, with_wheel_layers

Resolve: TypeAlias = Callable[[str, Platform], Awaitable[ResolvedImage]]
"""Looks an image up for a platform."""


async def shared(specs: Specs, environ: Mapping[str, str], resolve: Resolve) -> Specs:
    """The specs with wheel layers where packages are pinned and that comes to the same; each image looked up once."""
    asked = {(tool, item) for found in specs.values() for item, spec in found.items() for tool in tools_needed(spec)}
    order = sorted(asked, key=str)
    images = dict(zip(order, await asyncio.gather(*(resolve(*item) for item in order)), strict=True))
    private = frozenset(_private_hosts(environ))
    return {
        name: {
            platform: with_wheel_layers(
                spec, {tool: images[tool, platform] for tool in tools_needed(spec)}, private=private
            )
            for platform, spec in variants.items()
        }
        for name, variants in specs.items()
    }


def _private_hosts(environ: Mapping[str, str]) -> Iterator[str]:
    """The hosts of the host's indexes that credentials are given for."""
    for name in INDEX_VARIABLES:
        for url in environ.get(name, "").replace(",", " ").split():
            # An index may have a name: `NAME=https://…`.
            address = urlsplit(url[max(0, url.find("http")) :])
            if address.username is not None:
                yield address.netloc.rpartition("@")[2]
