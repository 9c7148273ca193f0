"""Bases that are in the registry that is pushed to already: mounted there instead of pushed."""

from __future__ import annotations

from msgspec import Struct, field

from flytebuild.build.builder import Builder, Outcome
from flytebuild.events import Emit
from flytebuild.llb.source import pinned
from flytebuild.plan import ImagePlan
from flytebuild.registry.client import Refused, RegistryClient
from flytebuild.registry.content import fetch_manifest
from flytebuild.registry.copy import mount
from flytebuild.registry.reference import Reference, parse
from flytebuild.spec.layers import Dockerfile


class BasesMounted(Struct, frozen=True):
    """Mounts a base's layers where the image will be, each once.

    BuildKit does so only with layers that it has not unpacked, and pushes the others, which are most of an image.
    """

    builder: Builder
    client: RegistryClient
    _done: set[tuple[Reference, str]] = field(default_factory=set)

    async def build(self, image: ImagePlan, emit: Emit) -> Outcome:
        target = parse(image.reference)
        for base in map(parse, _bases(image)):
            if base.registry == target.registry and (base, target.repository) not in self._done:
                self._done.add((base, target.repository))
                await self._mount(base, target)
        return await self.builder.build(image, emit)

    async def _mount(self, base: Reference, target: Reference) -> None:
        try:
            manifest = await fetch_manifest(self.client, base)
            await mount(self.client, base, target, manifest.layers)
        except Refused:
            # Only a saving is lost. Where the base cannot be had at all, the solve says so.
            return


def _bases(image: ImagePlan) -> list[str]:
    """Where an image's lowest layers come from; of a Dockerfile's images it is not known which one that is."""
    if image.spec is None:
        return []
    layers = [step.layer for step in image.spec.steps]
    named = [item for layer in layers if isinstance(layer, Dockerfile) for item in layer.images]
    return [pinned(item) for item in (*filter(None, [image.spec.base]), *named)]
