"""What layers have in a registry, noted for the next plan."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence

from msgspec import Struct

from flytebuild.build.builder import Builder, Outcome
from flytebuild.events import Emit
from flytebuild.llb.blobs import blobs
from flytebuild.llb.lower import lower, steps_of
from flytebuild.llb.proxies import Proxies
from flytebuild.llb.wheels import wheel_layer
from flytebuild.measures import remember_sizes
from flytebuild.plan import ImagePlan, is_in_engine, registry_of
from flytebuild.registry.client import Refused, RegistryClient
from flytebuild.registry.layers import stored_layers
from flytebuild.registry.reference import parse
from flytebuild.size import StoredLayer
from flytebuild.state import State


class Measured(Struct, frozen=True):
    """Notes the bytes of an image's layers once it is in a registry; the rest is how the image was lowered.

    What BuildKit makes several layers of counts together. Nothing depends on it: where the registry's layers are not
    the expected ones, and where it does not answer, nothing is noted.
    """

    builder: Builder
    client: RegistryClient
    state: State
    has_bundle: bool
    can_merge: bool
    proxies: Proxies

    async def build(self, image: ImagePlan, emit: Emit) -> Outcome:
        outcome = await self.builder.build(image, emit)
        if outcome.manifest and not is_in_engine(image.reference):
            try:
                found = await stored_layers(self.client, parse(image.reference).pinned(outcome.manifest))
            except Refused:
                return outcome
            sizes = await asyncio.to_thread(lambda: tuple(self._sizes(image, found)))
            await asyncio.to_thread(remember_sizes, registry_of(image.reference), sizes, self.state)
        return outcome

    def _sizes(self, image: ImagePlan, found: Sequence[StoredLayer]) -> Iterator[tuple[str, str, int]]:
        """What layers have, by the digest and the name that a plan has of them."""
        spec = image.spec
        if spec is None:
            return
        if spec.base is None:
            # One that comes of a Dockerfile is one layer to a plan.
            yield image.layers[0].digest, image.layers[0].summary, sum(layer.size for layer in found)
            return
        how = {"has_bundle": self.has_bundle, "can_merge": self.can_merge}
        made = blobs(lower(spec, **how, proxies=self.proxies))
        base, own = found[: len(found) - len(made)], found[len(found) - len(made) :]
        if len(own) != len(made) or sum(layer.size for layer in base) != spec.base.size:
            return
        steps = steps_of(spec, **how, proxies=self.proxies)
        plans = image.layers[len(image.layers) - len(spec.steps) :]
        wheels = {wheel_layer(item).vertex.inputs[1].vertex.digest: item for item in image.wheel_layers}
        sizes: Counter[tuple[str, str]] = Counter()
        for vertex, layer in zip(made, own, strict=True):
            if vertex in wheels:
                sizes[wheels[vertex].key, wheels[vertex].step] += layer.size
            else:
                step = plans[steps[vertex]]
                sizes[step.digest, step.summary] += layer.size
        for (digest, name), size in sizes.items():
            yield digest, name, size
