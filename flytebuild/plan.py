"""The plan: what is needed, what is there, what must be built, and why. Pure.

`make_plan` compares specs with facts; `to_document` is the plan as the versioned JSON that `--json` prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from flytebuild.facts import Absent, Fact, Present, Unknown
from flytebuild.graph import EnvironmentNode
from flytebuild.spec.composition import Composition, composition
from flytebuild.spec.digests import ImageDigests, digests, index_digest, tag_of
from flytebuild.spec.images import Platform, ResolvedImage
from flytebuild.spec.layers import trees_of
from flytebuild.spec.model import ExternalImage, ImageSpec
from flytebuild.why import Change, Earlier, changes

SCHEMA = "flytebuild.plan/1"
ENGINE_REGISTRY = "flytebuild.local"
"""The registry part of images that live in the engine's own store; no such host exists, so nobody can pull one."""

Variants: TypeAlias = Mapping[Platform, ImageSpec]
"""One definition's specs, by platform."""

Status: TypeAlias = Literal["present", "missing", "unknown", "external"]


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """One layer of an image, the base first. `digest` is 64 hex digits; `reason` is empty for what is present."""

    kind: str
    digest: str
    summary: str
    status: Status
    reason: str


@dataclass(frozen=True, slots=True)
class ImagePlan:
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
    def platforms(self) -> tuple[Platform, ...]:
        """What the image is for; nothing for external ones, which were not looked at."""
        return (self.spec.platform,) if self.spec else tuple(platform for platform, _ in self.members)

    @property
    def short(self) -> str:
        """What people see instead of the digest."""
        return self.digest[:12] if self.digest else self.reference


@dataclass(frozen=True, slots=True)
class EnvironmentPlan:
    """One needed environment and the reference of its image."""

    name: str
    file: str | None
    image: str
    depends_on: tuple[str, ...]
    tasks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Environments in an order in which dependencies come first, and each distinct image once.

    `unreachable` has the references whose registry could not be connected to.
    """

    environments: tuple[EnvironmentPlan, ...]
    images: tuple[ImagePlan, ...]
    unreachable: frozenset[str] = frozenset()

    @property
    def to_build(self) -> tuple[ImagePlan, ...]:
        """The images that a build makes."""
        return tuple(image for image in self.images if image.must_be_built)

    @property
    def to_copy(self) -> tuple[ImagePlan, ...]:
        """The images that a build only gives another name to."""
        return tuple(image for image in self.images if image.copied_from)

    @property
    def is_fulfilled(self) -> bool:
        """Whether there is nothing to do."""
        return not self.to_build and not self.to_copy

    def reference_of(self, environment: str) -> str:
        """The image reference of one environment."""
        return next(item.image for item in self.environments if item.name == environment)


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of one reference: whether it is there, and what its labels say it is and is made of."""

    fact: Fact
    layers: frozenset[str] = frozenset()
    image: str = ""
    composition: Composition | None = None


def reference(spec: ImageSpec, tag: str, registry: str | None) -> str:
    """Where an image is published: the registry the user gave the image, else the configured one, else the engine."""
    return f"{spec.registry or registry or ENGINE_REGISTRY}/{spec.name}:{tag}"


def make_plan(
    nodes: Sequence[EnvironmentNode],
    specs: Mapping[str, Variants],
    registry: str | None,
    observations: Mapping[str, Observation],
    elsewhere: Mapping[str, Observation] = MappingProxyType({}),
    earlier: Mapping[str, Earlier] = MappingProxyType({}),
) -> Plan:
    """Compare what is needed with what was observed.

    `specs` holds the specs of every environment whose image is not external, `observations` one entry for each of
    their `references`, `elsewhere` what was observed of references that nothing needs, and `earlier`, by reference,
    what the environments of images had before.
    """
    environments, users = list[EnvironmentPlan](), dict[str, list[str]]()
    wanted: dict[str, ExternalImage | ImageSpec | Variants] = {}
    for node in nodes:
        needed = _needed(node, specs, registry)
        wanted.update(needed)
        for target in needed:
            users.setdefault(target, []).append(node.name)
        environments.append(EnvironmentPlan(node.name, node.file, list(needed)[-1], node.depends_on, node.tasks))
    everything = [*observations.values(), *elsewhere.values()]
    seen = {layer for item in everything if isinstance(item.fact, Present) for layer in item.layers}
    images = []
    for target, names in users.items():
        match wanted[target]:
            case ExternalImage():
                images.append(ImagePlan(target, "external", "used as it is", tuple(names)))
            case ImageSpec() as spec:
                images.append(_image(target, spec, tuple(names), observations[target], seen, earlier.get(target)))
            case variants:
                images.append(_index(target, variants, tuple(names), observations[target], registry))
    there = {target: item.image for target, item in elsewhere.items() if _is_kept(target, item)}
    return Plan(tuple(environments), tuple(_with_copies(images, there)), _unreachable(observations))


def _is_kept(target: str, observation: Observation) -> bool:
    """Whether an image is there under a tag that means it: behind others there may be another one tomorrow."""
    return isinstance(observation.fact, Present) and target.endswith(f":{tag_of(observation.image)}")


def _with_copies(images: Sequence[ImagePlan], elsewhere: Mapping[str, str]) -> Iterator[ImagePlan]:
    """The images, those as copies that are missing here and there under another name, or built under one."""
    there: dict[str, list[str]] = {}
    for target, digest in elsewhere.items():
        there.setdefault(digest, []).append(target)
    built: dict[tuple[str | None, bool], str] = {}
    for image in images:
        if image.status == "present" and image.digest:
            there.setdefault(image.digest, []).insert(0, image.reference)
        elif image.status == "missing" and image.spec:
            built.setdefault((image.digest, is_in_engine(image.reference)), image.reference)
    for image in images:
        yield (
            image
            if image.status != "missing" or not image.spec
            else replace(image, copied_from=_source(image, there.get(image.digest or "", ()), built))
        )


def _source(image: ImagePlan, there: Sequence[str], built: Mapping[tuple[str | None, bool], str]) -> str | None:
    """Where an image is copied from, best within its registry; None when it is the one to build."""
    kind = is_in_engine(image.reference)
    registry = image.reference.partition("/")[0]
    candidates = [target for target in there if is_in_engine(target) == kind]
    if candidates:
        return min(candidates, key=lambda target: target.partition("/")[0] != registry)
    first = built[image.digest, kind]
    return first if first != image.reference else None


def is_in_engine(reference: str) -> bool:
    """Whether a reference is one of the engine's own store, and not of a registry."""
    return reference.startswith(f"{ENGINE_REGISTRY}/")


def _unreachable(observations: Mapping[str, Observation]) -> frozenset[str]:
    facts = {target: item.fact for target, item in observations.items()}
    return frozenset(target for target, fact in facts.items() if isinstance(fact, Unknown) and fact.is_unreachable)


def references(variants: Variants, registry: str | None) -> tuple[str, ...]:
    """Where the images of one definition are published: each platform's, and last the one that a container is given."""
    single = [reference(spec, digests(spec).tag, registry) for spec in variants.values()]
    if len(variants) == 1:
        return tuple(single)
    return (*single, reference(next(iter(variants.values())), tag_of(_index_digest(variants)), registry))


def _needed(
    node: EnvironmentNode, specs: Mapping[str, Variants], registry: str | None
) -> dict[str, ExternalImage | ImageSpec | Variants]:
    """What one environment needs, by reference; the one that its containers start from comes last."""
    if isinstance(node.image, ExternalImage):
        return {node.image.reference: node.image}
    variants = specs[node.name]
    found: list[ImageSpec | Variants] = [*variants.values()]
    if len(variants) > 1:
        found.append(variants)
    return dict(zip(references(variants, registry), found, strict=True))


def _index_digest(variants: Variants) -> str:
    return index_digest({platform: digests(spec).image for platform, spec in variants.items()})


def _index(
    target: str, variants: Variants, environments: tuple[str, ...], observation: Observation, registry: str | None
) -> ImagePlan:
    digest = _index_digest(variants)
    status, reason = _judge(next(iter(variants.values())), _checked(observation, digest), target)
    members = tuple(zip(variants, references(variants, registry), strict=False))
    return ImagePlan(target, status, reason, environments, digest, members=members)


def _image(
    target: str,
    spec: ImageSpec,
    environments: tuple[str, ...],
    observation: Observation,
    seen: set[str],
    earlier: Earlier | None,
) -> ImagePlan:
    spec_digests = digests(spec)
    status, reason = _judge(spec, _checked(observation, spec_digests.image), target)
    found = _changes(spec, spec_digests, earlier) if earlier and status == "missing" else ()
    layers = _layers(spec, spec_digests, status, reason, seen, found)
    return ImagePlan(
        target, status, reason, environments, spec_digests.image, layers, spec, earlier=earlier, changes=found
    )


def _changes(spec: ImageSpec, spec_digests: ImageDigests, earlier: Earlier) -> tuple[Change, ...]:
    trees = [tree for step in spec.steps for tree in trees_of(step.layer)]
    return changes(
        earlier.composition,
        composition(spec, spec_digests),
        base=spec.base.reference if spec.base else "",
        summaries=[step.layer.summary for step in spec.steps],
        origins=[step.origin for step in spec.steps],
        trees={**earlier.trees, **{tree.digest: tree.files for tree in trees}},
    )


def _checked(observation: Observation, expected: str) -> Fact:
    """The fact, unless what is there under our tag says that it is something else: a tag alone proves nothing."""
    if isinstance(observation.fact, Present) and observation.image != expected:
        return Unknown("what is there under this tag does not say that it is this image")
    return observation.fact


def _judge(spec: ImageSpec, fact: Fact, target: str) -> tuple[Status, str]:
    if spec.problem:
        return "unknown", spec.problem
    match fact:
        case Present():
            return "present", ""
        case Absent():
            return "missing", f"not in {_place(target)}"
        case Unknown(reason=reason):
            return "unknown", reason


def _layers(
    spec: ImageSpec,
    spec_digests: ImageDigests,
    status: Status,
    reason: str,
    seen: set[str],
    found: Sequence[Change],
) -> tuple[LayerPlan, ...]:
    """The base and every step. A layer is present only if an image that was seen to be present holds it."""
    layers = [_base(spec.base, spec_digests.base)] if spec.base else []
    own = {change.layer: change.words for change in reversed(found)}
    is_resolved = not spec.problem
    below_missing = not is_resolved
    for number, (step, digest) in enumerate(zip(spec.steps, spec_digests.layers, strict=True)):
        if status == "present" or (digest in seen and not below_missing):
            layers.append(LayerPlan(step.layer.kind, digest, step.layer.summary, "present", ""))
            continue
        if status == "unknown":
            why = reason if is_resolved else "the base is unknown"
            layers.append(LayerPlan(step.layer.kind, digest, step.layer.summary, "unknown", why))
        else:
            known = "a layer below it is missing" if below_missing else "no image that is present has it"
            why = own.get(number, known)
            layers.append(LayerPlan(step.layer.kind, digest, step.layer.summary, "missing", why))
        below_missing = True
    return tuple(layers)


def _base(base: ResolvedImage, digest: str) -> LayerPlan:
    summary = f"base {base.reference}" + (f" @ {base.digest[:19]}" if base.digest else "")
    return LayerPlan("base", digest, summary, "present" if base.is_resolved else "unknown", base.problem)


def _place(target: str) -> str:
    host = target.rpartition(":")[0]
    return "the engine's store" if is_in_engine(target) else f"`{host}`"


def to_document(plan: Plan) -> dict[str, Any]:
    """The plan as JSON values; see `docs/plan-json.md`."""
    return {
        "schema": SCHEMA,
        "environments": [
            {
                "name": item.name,
                "file": item.file,
                "image": item.image,
                "depends_on": list(item.depends_on),
                "tasks": list(item.tasks),
            }
            for item in plan.environments
        ],
        "images": [
            {
                "digest": image.digest,
                "reference": image.reference,
                "status": image.status,
                "reason": image.reason,
                "copied_from": image.copied_from,
                "earlier": image.earlier.image if image.earlier else None,
                "changes": [_change(image, change) for change in image.changes],
                "platforms": [str(item) for item in image.platforms],
                "environments": list(image.environments),
                "layers": [
                    {
                        "kind": layer.kind,
                        "digest": layer.digest,
                        "summary": layer.summary,
                        "status": layer.status,
                        "reason": layer.reason,
                    }
                    for layer in image.layers
                ],
            }
            for image in plan.images
        ],
        "to_build": [image.reference for image in plan.to_build],
        "to_copy": [image.reference for image in plan.to_copy],
    }


def _change(image: ImagePlan, change: Change) -> dict[str, Any]:
    """A change as JSON values, its layer by its digest."""
    steps = image.layers[-len(image.spec.steps) :] if image.spec and image.spec.steps else ()
    return {
        "layer": None if change.layer is None else steps[change.layer].digest,
        "field": change.what,
        "before": change.before,
        "after": change.after,
        "words": change.words,
        "origin": change.origin or None,
    }
