"""What a plan says, as values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import Struct, field

from flytebuild.errors import DefinitionError
from flytebuild.facts import Fact
from flytebuild.spec.composition import Composition
from flytebuild.spec.images import Platform
from flytebuild.spec.layers import Pinned, WheelLayer
from flytebuild.spec.model import ImageSpec

if TYPE_CHECKING:
    from flytebuild.why import Change, Earlier

Variants: TypeAlias = Mapping[Platform, ImageSpec]
"""One definition's specs, by platform."""

Status: TypeAlias = Literal["present", "missing", "unknown", "external"]


class LayerPlan(Struct, frozen=True):
    """One layer of an image, the base first. `digest` is 64 hex digits; `reason` is empty for what is present.

    Packages whose wheels are known come as `wheel_layers`, given by their keys, or there is an `obstacle` to that.
    """

    kind: str
    digest: str
    summary: str
    status: Status
    reason: str
    wheel_layers: tuple[str, ...] = ()
    obstacle: str = ""


class WheelLayerPlan(Struct, frozen=True):
    """A layer of wheels, and the references of the images that have it; `size` is in bytes, where it is known.

    `step` is what BuildKit calls the step that makes it. It is present where an image has it that is there, or was, and
    where it was made before on this machine.
    """

    key: str
    summary: str
    step: str
    size: int | None
    images: tuple[str, ...]
    status: Literal["present", "missing"] = "missing"


class ImagePlan(Struct, frozen=True):
    """One image that environments need. External images have neither digest, layers nor spec.

    An image for several platforms has no layers of its own: `members` are the references of the images that it is an
    index of, by platform. One that is missing here and is, or will be, somewhere else is not built: `copied_from` is
    that other reference. `earlier` is the image that one of its environments had before, where that is known, and
    `changes` tell what is different from that.
    """

    reference: str
    status: Status
    reason: str
    environments: tuple[str, ...]
    digest: str | None = None
    layers: tuple[LayerPlan, ...] = ()
    spec: ImageSpec | None = None
    members: tuple[tuple[Platform, str], ...] = ()
    copied_from: str | None = None
    earlier: Earlier | None = None
    changes: tuple[Change, ...] = ()

    @property
    def must_be_built(self) -> bool:
        """Missing, or not known to be present: what could not be found out is never taken for granted."""
        return self.status in ("missing", "unknown") and not self.copied_from

    @property
    def is_to_do(self) -> bool:
        """Whether a build makes it, or gives it its name."""
        return self.must_be_built or self.copied_from is not None

    @property
    def platforms(self) -> tuple[Platform, ...]:
        """What the image is for; nothing for external ones, which were not looked at."""
        return (self.spec.platform,) if self.spec else tuple(platform for platform, _ in self.members)

    @property
    def wheel_layers(self) -> tuple[WheelLayer, ...]:
        """Its wheel layers, in their order, each once."""
        pinned = (step.layer for step in self.spec.steps if isinstance(step.layer, Pinned)) if self.spec else ()
        return tuple({layer.key: layer for item in pinned for layer in item.layers}.values())

    @property
    def short(self) -> str:
        """What people see instead of the digest."""
        return self.digest[:12] if self.digest else self.reference


class EnvironmentPlan(Struct, frozen=True):
    """One needed environment and the reference of its image."""

    name: str
    file: str | None
    image: str
    depends_on: tuple[str, ...]
    tasks: tuple[str, ...]


class Plan(Struct, frozen=True):
    """Environments in an order in which dependencies come first, and each distinct image once.

    `unreachable` has the references whose registry could not be connected to, `problems` tell what of the code could
    not be planned. `as_of` is when the oldest of the facts was found out, in seconds since the epoch; None where all
    of them are of now. `made` has the keys of wheel layers that were made before, `held` the digests of the layers of
    images that were seen in registries, by the registry's host.
    """

    environments: tuple[EnvironmentPlan, ...]
    images: tuple[ImagePlan, ...]
    unreachable: frozenset[str] = frozenset()
    problems: tuple[DefinitionError, ...] = ()
    as_of: float | None = None
    made: frozenset[str] = frozenset()
    held: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def to_build(self) -> tuple[ImagePlan, ...]:
        """The images that a build makes."""
        return tuple(image for image in self.images if image.must_be_built)

    @property
    def to_copy(self) -> tuple[ImagePlan, ...]:
        """The images that a build only gives another name to."""
        return tuple(image for image in self.images if image.copied_from)

    @property
    def wheel_layers(self) -> tuple[WheelLayerPlan, ...]:
        """The wheel layers of all images, each once; those first that most images have, then by size."""
        users: dict[str, list[str]] = {}
        layers, made = {}, set(self.made)
        for image in self.images:
            for layer in image.wheel_layers:
                layers[layer.key] = layer
                users.setdefault(layer.key, []).append(image.reference)
                if image.status == "present":
                    made.add(layer.key)
        found = [
            WheelLayerPlan(
                key,
                layer.summary,
                layer.step,
                layer.size,
                tuple(dict.fromkeys(users[key])),
                "present" if key in made else "missing",
            )
            for key, layer in layers.items()
        ]
        return tuple(sorted(found, key=lambda item: (-len(item.images), -(item.size or 0), item.key)))

    @property
    def to_do(self) -> tuple[ImagePlan, ...]:
        """The images of either kind."""
        return tuple(image for image in self.images if image.is_to_do)

    @property
    def is_fulfilled(self) -> bool:
        """Whether there is nothing to do."""
        return not self.to_do

    def reference_of(self, environment: str) -> str:
        """The image reference of one environment."""
        return next(item.image for item in self.environments if item.name == environment)


class Observation(Struct, frozen=True):
    """What was seen of one reference: whether it is there, and what its labels say it is and is made of."""

    fact: Fact
    layers: frozenset[str] = frozenset()
    image: str = ""
    composition: Composition | None = None
