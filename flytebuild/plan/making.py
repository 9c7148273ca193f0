"""Specs and facts become a plan. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from msgspec.structs import replace

from flytebuild.facts import Absent, Fact, Present, Unknown
from flytebuild.graph import EnvironmentNode
from flytebuild.plan.copies import is_kept, with_copies
from flytebuild.plan.model import EnvironmentPlan, ImagePlan, LayerPlan, Observation, Plan, Status, Variants
from flytebuild.plan.places import digest_of_index, is_in_engine, references, registry_of
from flytebuild.spec.composition import composition
from flytebuild.spec.digests import ImageDigests, digests
from flytebuild.spec.images import ResolvedImage
from flytebuild.spec.layers import Pinned, folder_of, listed_of, trees_of
from flytebuild.spec.model import ExternalImage, ImageSpec
from flytebuild.spec.step import Step

if TYPE_CHECKING:
    from flytebuild.why import Change, Earlier


def make_plan(
    nodes: Sequence[EnvironmentNode],
    specs: Mapping[str, Variants],
    registry: str | None,
    observations: Mapping[str, Observation],
    elsewhere: Mapping[str, Observation] = MappingProxyType({}),
    earlier: Mapping[str, Earlier] = MappingProxyType({}),
    new: Mapping[str, bool] = MappingProxyType({}),
) -> Plan:
    """Compare what is needed with what was observed.

    `specs` holds the specs of every environment whose image is not external, `observations` one entry for each of
    their `references`, `elsewhere` what was observed of references that nothing needs, and `earlier`, by reference,
    what the environments of images had before; `new` are the references of those whose environments had none, and
    whether they had some for other platforms.
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
                image = _image(target, spec, tuple(names), observations[target], seen, earlier.get(target))
                images.append(_as_new(image, is_there=new[target]) if target in new else image)
            case variants:
                images.append(_index(target, variants, tuple(names), observations[target], registry))
    there = {target: item.image for target, item in elsewhere.items() if is_kept(target, item)}
    made = frozenset(_made(everything, earlier.values()))
    held = _held({**observations, **elsewhere})
    copied = tuple(with_copies(images, there))
    return Plan(tuple(environments), copied, _unreachable(observations), made=made, held=held)


def _made(observations: Iterable[Observation], earlier: Iterable[Earlier]) -> Iterator[str]:
    """The keys of the wheel layers of images that are there, or were."""
    there = (item.composition for item in observations if isinstance(item.fact, Present))
    for composed in filter(None, (*there, *(item.composition for item in earlier))):
        yield from composed.wheel_layers


def _held(observations: Mapping[str, Observation]) -> dict[str, frozenset[str]]:
    """The digests of the layers of images that are there, by their registries."""
    found: dict[str, frozenset[str]] = {}
    for target, item in observations.items():
        if isinstance(item.fact, Present) and not is_in_engine(target):
            registry = registry_of(target)
            found[registry] = found.get(registry, frozenset()) | item.layers
    return found


def _unreachable(observations: Mapping[str, Observation]) -> frozenset[str]:
    facts = {target: item.fact for target, item in observations.items()}
    return frozenset(target for target, fact in facts.items() if isinstance(fact, Unknown) and fact.is_unreachable)


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


def _index(
    target: str, variants: Variants, environments: tuple[str, ...], observation: Observation, registry: str | None
) -> ImagePlan:
    digest = digest_of_index(variants)
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


def _as_new(image: ImagePlan, *, is_there: bool) -> ImagePlan:
    """An image that its environments have not had before; `is_there` where they had others for other platforms."""
    words = "new environment" if len(image.environments) == 1 else "new environments"
    if is_there and image.spec:
        words = f"first for {image.spec.platform}"
    return replace(image, reason=f"{words}, {image.reason}")


def _changes(spec: ImageSpec, spec_digests: ImageDigests, earlier: Earlier) -> tuple[Change, ...]:
    # Loaded here: most plans find everything built.
    from flytebuild.why import changes

    trees = [tree for step in spec.steps for tree in trees_of(step.layer)]
    return changes(
        earlier.composition,
        composition(spec, spec_digests),
        base=spec.base.reference if spec.base else "",
        summaries=[step.layer.summary for step in spec.steps],
        origins=[step.origin for step in spec.steps],
        trees={**earlier.trees, **{tree.digest: tree.files for tree in trees}},
        listings=[listed_of(step.layer) for step in spec.steps],
        folders=[folder_of(step.layer) for step in spec.steps],
        places=spec.places,
    )


def _by_layer(found: Sequence[Change]) -> dict[int, str]:
    if not found:
        return {}
    from flytebuild.why import by_layer  # as in `_changes`

    return by_layer(found)


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
    own = _by_layer(found)
    is_resolved = not spec.problem
    below_missing = not is_resolved
    for number, (step, digest) in enumerate(zip(spec.steps, spec_digests.layers, strict=True)):
        keys, obstacle = _recipe(step)
        made = partial(LayerPlan, step.layer.kind, digest, step.layer.summary, wheel_layers=keys, obstacle=obstacle)
        if status == "present" or (digest in seen and not below_missing):
            layers.append(made("present", ""))
            continue
        if status == "unknown":
            why = reason if is_resolved else "the base is unknown"
            layers.append(made("unknown", why))
        else:
            known = "a layer below it is missing" if below_missing else "no image that is present has it"
            why = own.get(number, known)
            layers.append(made("missing", why))
        below_missing = True
    return tuple(layers)


def _recipe(step: Step) -> tuple[tuple[str, ...], str]:
    """The wheel layers that a layer's packages come as, or why they do not."""
    if isinstance(step.layer, Pinned):
        return tuple(item.key for item in step.layer.layers), step.layer.reason
    return (), f"not locked, since {step.obstacle}" if step.obstacle else ""


def _base(base: ResolvedImage, digest: str) -> LayerPlan:
    summary = f"base {base.reference}" + (f" @ {base.digest[:19]}" if base.digest else "")
    return LayerPlan("base", digest, summary, "present" if base.is_resolved else "unknown", base.problem)


def _place(target: str) -> str:
    host = target.rpartition(":")[0]
    return "the engine's store" if is_in_engine(target) else f"`{host}`"
