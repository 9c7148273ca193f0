"""What a lock installs in images as they are defined, before anything outside is looked at. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from flytebuild.errors import DefinitionError
from flytebuild.spec.images import Platform, ResolvedImage
from flytebuild.spec.layers import Pinned
from flytebuild.spec.model import ImageDefinition, ImageSpec, Placed
from flytebuild.spec.specify import images_needed, specify
from flytebuild.wheels.lock import Lock, apply


def with_locked(definition: ImageDefinition, lock: Lock, platforms: Sequence[Platform] = ()) -> ImageDefinition:
    """The definition with the lock's wheels in the place of layers, as for the first of `platforms` that it knows.

    Without `platforms` it is the first that the image may be for. What the base says of its environment is not known
    here: a layer that counts on it is found in no lock, and stays.
    """
    for platform in platforms or definition.platforms:
        images = {name: ResolvedImage(name, name, lock.digest_of(name, platform)) for name in images_needed(definition)}
        try:
            spec = specify(definition, platform, images)
        except DefinitionError:
            continue
        made, _ = apply({definition.name: {platform: spec}}, lock)
        parts = tuple(_parts(definition.parts, made[definition.name][platform]))
        if parts != definition.parts:
            return replace(definition, parts=parts)
    return definition


def _parts(parts: Sequence[Placed], spec: ImageSpec) -> Iterator[Placed]:
    """The parts of a definition with what is pinned in its spec, which has them in the same order."""
    pinned = iter([step.layer for step in spec.steps if isinstance(step.layer, Pinned)])
    following = next(pinned, None)
    for placed in parts:
        if following and placed.part is following.asked:
            yield replace(placed, part=following)
            following = next(pinned, None)
        else:
            yield placed
