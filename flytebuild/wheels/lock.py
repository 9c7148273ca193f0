"""A lock as a value: which digests images have and which wheels layers come to, and what it makes of image specs. Pure.

Layers are found by their fingerprints (`flytebuild.wheels.questions`), so a layer that was changed since, or that is on
another base, is in no lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TypeAlias, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from flytebuild.spec.images import Platform
from flytebuild.spec.layers import Pin, Pinned, PipPackages, Requirements, UvProject
from flytebuild.spec.model import ImageSpec
from flytebuild.wheels.arguments import with_words
from flytebuild.wheels.questions import Question, questions

Specs: TypeAlias = Mapping[str, Mapping[Platform, ImageSpec]]
"""The specs of environments by their names, one for each platform."""


class LockedImage(Struct, frozen=True):
    """What an image's name led to for one platform, when it was locked: the digest of its manifest.

    `is_ready` says of a base whether it has the virtual environment that images begin with
    (`flytebuild.wheels.readiness`); None where that is not known.
    """

    reference: str
    platform: str
    digest: str
    is_ready: bool | None = None


class LockedLayer(Struct, frozen=True):
    """One layer's wheels, sorted by name. `asked` is its summary, `environments` are those whose images have it.

    `where` are the options about indexes that its files have, `python` is what they are for (`3.11`), and
    `replaces` are those packages that have another version below. `obstacle` says, as half a sentence, what of the base
    or of an index keeps them from being wheel layers.
    """

    asked: str
    platform: str
    fingerprint: str
    environments: tuple[str, ...]
    pins: tuple[Pin, ...]
    where: tuple[str, ...] = ()
    python: str = ""
    replaces: tuple[str, ...] = ()
    obstacle: str = ""


class UnlockedLayer(Struct, frozen=True):
    """One layer that stays as it is, and why: half a sentence."""

    asked: str
    platform: str
    fingerprint: str
    environments: tuple[str, ...]
    reason: str


_Layer = TypeVar("_Layer", bound="LockedLayer | UnlockedLayer")


class Lock(Struct, frozen=True, dict=True):
    """All that was decided; `uv` is the version that decided it."""

    uv: str = ""
    images: tuple[LockedImage, ...] = ()
    layers: tuple[LockedLayer, ...] = ()
    unlocked: tuple[UnlockedLayer, ...] = ()

    @cached_property
    def by_fingerprint(self) -> Mapping[str, LockedLayer]:
        return {layer.fingerprint: layer for layer in self.layers}

    @cached_property
    def reasons(self) -> Mapping[str, str]:
        """Why layers are not locked, by fingerprint."""
        return {layer.fingerprint: layer.reason for layer in self.unlocked}

    @cached_property
    def names(self) -> frozenset[str]:
        """All packages and images that are in it: what may move."""
        packages = {pin.name for layer in self.layers for pin in layer.pins}
        return frozenset(packages | {image.reference for image in self.images})

    def digest_of(self, reference: str, platform: Platform) -> str | None:
        """What an image's name is to lead to."""
        return self._digests.get((reference, str(platform)))

    @cached_property
    def ready(self) -> Mapping[str, bool]:
        """Whether bases are ready of which that is known, by their digests."""
        return {image.digest: image.is_ready for image in self.images if image.is_ready is not None}

    @cached_property
    def _digests(self) -> Mapping[tuple[str, str], str]:
        return {(image.reference, image.platform): image.digest for image in self.images}


def order(item: LockedImage | LockedLayer | UnlockedLayer) -> tuple[str, str, str]:
    """What images and layers are sorted by: what moves least comes first."""
    if isinstance(item, LockedImage):
        return item.reference, item.platform, item.digest
    return item.asked, item.platform, item.fingerprint


class Unlocked(Struct, frozen=True):
    """A layer of an environment's image that is built as it is written.

    `is_drift` where the lock has another one in its place, or none; else `reason` is why it cannot be locked.
    """

    environment: str
    platform: str
    question: Question
    reason: str
    is_drift: bool = False


def apply(specs: Specs, lock: Lock) -> tuple[dict[str, dict[Platform, ImageSpec]], tuple[Unlocked, ...]]:
    """The specs with the lock's wheels in the place of layers, and what stays as it is."""
    made: dict[str, dict[Platform, ImageSpec]] = {}
    left = list[Unlocked]()
    for name, variants in specs.items():
        made[name] = {}
        for platform, spec in variants.items():
            found = list(_unlocked(name, spec, lock))
            made[name][platform] = _pinned(spec, lock, {item.question.number: item.reason for item in found})
            left += found
    return made, tuple(left)


def _unlocked(environment: str, spec: ImageSpec, lock: Lock) -> Iterator[Unlocked]:
    for question in questions(spec):
        reason = question.reason or lock.reasons.get(question.fingerprint, "")
        if reason:
            yield Unlocked(environment, str(spec.platform), question, reason)
        elif question.fingerprint not in lock.by_fingerprint:
            yield Unlocked(
                environment, str(spec.platform), question, "`flytebuild lock` has not seen it", is_drift=True
            )


def _pinned(spec: ImageSpec, lock: Lock, left: Mapping[int, str]) -> ImageSpec:
    """The image with what is locked; `left` says of each other installing step why it is not."""
    steps = list(spec.steps)
    for question in questions(spec):
        if question.number in left:
            steps[question.number] = replace(question.step, obstacle=left[question.number])
        else:
            locked = lock.by_fingerprint[question.fingerprint]
            steps[question.number] = replace(question.step, layer=_layer(question, locked))
    return replace(spec, steps=tuple(steps))


def _layer(question: Question, locked: LockedLayer) -> Pinned:
    asked = question.layer
    assert isinstance(asked, PipPackages | Requirements | UvProject)  # noqa: S101 - others cannot be locked
    told = with_words(question.arguments, list(locked.where))
    options = told.installing(asked.options)
    return Pinned(
        locked.pins,
        options=options,
        asked=asked,
        python=locked.python,
        replaces=locked.replaces,
        obstacle=locked.obstacle,
    )


def merged(before: Lock, after: Lock, platforms: frozenset[str], environments: frozenset[str] | None = None) -> Lock:
    """`after`, with what an earlier lock has about others than it is about.

    That is these platforms, and these environments of them, or all that there are.
    """

    def others(layer: LockedLayer | UnlockedLayer) -> set[str]:
        if layer.platform not in platforms:
            return set(layer.environments)
        return set() if environments is None else set(layer.environments) - environments

    kept = [image for image in before.images if image.platform not in platforms or environments is not None]
    images = {(image.reference, image.platform): image for image in (*kept, *after.images)}
    return Lock(
        after.uv,
        tuple(sorted(images.values(), key=order)),
        tuple(sorted(_with_others(before.layers, after.layers, others), key=order)),
        tuple(sorted(_with_others(before.unlocked, after.unlocked, others), key=order)),
    )


def _with_others(
    before: Iterable[_Layer], after: Iterable[_Layer], others: Callable[[_Layer], set[str]]
) -> Iterator[_Layer]:
    """Layers of a later lock; those of an earlier one stay where other environments have them."""
    earlier = {layer.fingerprint: layer for layer in before}
    for layer in after:
        known = earlier.pop(layer.fingerprint, None)
        names = {*layer.environments, *(others(known) if known else ())}
        yield replace(layer, environments=tuple(sorted(names)))
    for layer in earlier.values():
        if names := others(layer):
            yield replace(layer, environments=tuple(sorted(names)))
