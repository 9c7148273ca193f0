"""What registries are given by a build, in bytes, as far as that was ever measured. Pure.

A layer that was built before has the bytes that it had then, else those of the latest of its name. One that nobody has
built has what can be said of it beforehand: files of the host and programs of other images are at most as large as they
are, wheels about as large as their layer will be.

A registry is given nothing of what an image that was seen there has, or its cache: it is there, or is mounted
(`build.bases`, `build.shared_layers`). The base is mounted within a registry, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from flytebuild.plan.experience import Experience
from flytebuild.plan.model import ImagePlan, LayerPlan, Plan
from flytebuild.plan.places import is_in_engine, registry_of
from flytebuild.spec.layers import Binary, Copy, Folder, LayerSpec, PipPackages

Pushes: TypeAlias = Mapping[tuple[str, str], int | None]
"""The bytes of layers, by the repository or registry that is given them and what names the layer; None: not known."""

_EMPTY = 32
"""About what a layer has that holds no file."""


def pushes(plan: Plan, image: ImagePlan, experience: Experience) -> Pushes:
    """What the registry is given that an image goes to; an engine's store is given nothing."""
    if is_in_engine(image.reference) or not image.spec:
        return {}
    return dict(_pushes(plan, image, experience))


def held(plan: Plan, registry: str) -> frozenset[str]:
    """The digests of the layers of images that were seen in a registry, bases included."""
    seen = plan.held.get(registry, frozenset())
    there = [image for image in plan.images if registry_of(image.reference) == registry]
    bases = {
        image.layers[0].digest
        for image in there
        if image.layers and (image.status == "present" or any(layer.digest in seen for layer in image.layers))
    }
    return seen | bases


def _pushes(plan: Plan, image: ImagePlan, experience: Experience) -> Iterator[tuple[tuple[str, str], int | None]]:
    registry, repository = registry_of(image.reference), image.reference.rpartition(":")[0]
    there = held(plan, registry)
    wheels = {item.key: item for item in plan.wheel_layers if item.status == "missing"}
    steps = image.spec.steps if image.spec else ()
    specs = dict(zip((layer.digest for layer in image.layers[-len(steps) :]), steps, strict=True)) if steps else {}
    for layer in image.layers:
        if layer.digest in there or experience.is_cached(registry, layer.digest):
            continue
        if layer.kind == "base":
            base = image.spec.base if image.spec else None
            if base and registry_of(base.location) != registry:
                yield (registry, layer.digest), base.size
        elif layer.wheel_layers:
            for item in (wheels[key] for key in layer.wheel_layers if key in wheels):
                known = experience.size(item.key, item.step)
                yield (registry, item.key), item.size if known is None else known
        else:
            yield (repository, layer.digest), _bytes(layer, specs[layer.digest].layer, experience)


def _bytes(layer: LayerPlan, spec: LayerSpec, experience: Experience) -> int | None:
    known = experience.size(layer.digest, layer.summary)
    if known is not None:
        return known
    match spec:
        case Copy(tree=tree):
            return tree.size
        case Binary(image=image):
            return image.size
        case Folder():
            return _EMPTY
        case PipPackages(requirements=()) if not spec.options.extra_args:
            return 0
        case _:
            return None
