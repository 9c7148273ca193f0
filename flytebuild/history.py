"""The images that environments had before: remembered by the user's state, and by a tag in the registry.

The state knows each file of the last image's trees. Where it knows nothing (a new machine, CI), the tag that every
published image is given for each of its environments leads to an image that says what it is made of.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from flytebuild.config_values import PLATFORMS
from flytebuild.facts import Absent, Present
from flytebuild.plan import ImagePlan, Observation, Plan, is_in_engine
from flytebuild.spec.composition import Composition, composition, decode
from flytebuild.spec.digests import TAG_PREFIX, digests
from flytebuild.spec.layers import WheelLayer, trees_of
from flytebuild.spec.tree import Tree
from flytebuild.state import EnvironmentRecord, State

if TYPE_CHECKING:
    from flytebuild.why import Earlier

_LARGEST = 20_000
"""Trees with more files than this are remembered by their digests alone."""

_MADE = "wheel layer"
"""What wheel layers are noted under in the state, by their keys."""

# Texts, compiled by who looks for one: most plans find everything built.
_NO_TAG = r"[^A-Za-z0-9_.-]"
_TAG_LENGTH = 128
_OF_ENVIRONMENT = rf"env-[A-Za-z0-9_.-]+-linux-[a-z0-9-]+|(?=.{{{_TAG_LENGTH}}}\Z)env-[A-Za-z0-9_.-]+-[0-9a-f]{{8}}"
_OURS = rf"{TAG_PREFIX}[0-9a-f]{{32}}|{_OF_ENVIRONMENT}|[vd]-[0-9a-f]{{32}}"


def remember(images: Iterable[ImagePlan], plan: Plan, state: State) -> None:
    """Note images that are there as the ones that their environments have."""
    images, places = [image for image in images if image.spec], _places(plan)
    state.record_environments(
        EnvironmentRecord(name, places[name], str(image.spec.platform), image.digest or "", _composed(image))
        for image in images
        if image.spec
        for name in image.environments
    )
    remember_made((layer for image in images for layer in image.wheel_layers), state)
    trees = {tree.digest: tree.files for image in images for tree in _trees(image) if len(tree.entries) <= _LARGEST}
    state.record_trees(trees)


def remember_made(layers: Iterable[WheelLayer], state: State) -> None:
    """Note wheel layers that have been made, and are in no need of being made again."""
    state.remember_all(_MADE, {layer.key: layer.summary for layer in layers})


def made(plan: Plan, state: State) -> frozenset[str]:
    """The keys of those wheel layers of a plan that are noted as made."""
    return frozenset(item.key for item in plan.wheel_layers if state.remembered(_MADE, item.key) is not None)


def recall(plan: Plan, state: State) -> dict[str, Earlier]:
    """What the environments of missing images had before, by the missing image's reference."""
    from flytebuild.why import Earlier

    found, places = {}, _places(plan)
    for image in plan.images:
        record = next(_records(image, places, state), None)
        made_of = decode(record.composition) if record else None
        if record and made_of:
            found[image.reference] = Earlier(record.image, made_of, _known_trees(made_of, state))
    return found


def asked(plan: Plan, known: Mapping[str, Earlier]) -> dict[str, tuple[str, ...]]:
    """The references to look at for what the environments of the other missing images had, by the image's reference."""
    return {
        image.reference: tuple(tags(image))
        for image in plan.images
        if image.spec and image.status == "missing" and image.reference not in known
    }


def answered(questions: Mapping[str, tuple[str, ...]], seen: Mapping[str, Observation]) -> dict[str, Earlier]:
    """What came of looking at what was `asked`."""
    from flytebuild.why import Earlier

    found = dict[str, Earlier]()
    for reference, names in questions.items():
        for observation in filter(None, map(seen.get, names)):
            if isinstance(observation.fact, Present) and observation.composition:
                found.setdefault(reference, Earlier(observation.image, observation.composition))
    return found


def asked_of_others(plan: Plan, questions: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The references to look at for what the environments of those images have for other platforms."""
    return {
        image.reference: tuple(
            tag for platform in PLATFORMS if not _is_for(image, platform) for tag in tags(image, platform)
        )
        for image in plan.images
        if image.reference in questions
    }


def firsts(
    plan: Plan,
    questions: Mapping[str, tuple[str, ...]],
    others: Mapping[str, tuple[str, ...]],
    seen: Mapping[str, Observation],
    state: State,
) -> dict[str, bool]:
    """The references of those whose environments had none for their platform, and whether they had some for others.

    A missing answer makes nothing certain.
    """
    places = _places(plan)
    users = {image.reference: image.environments for image in plan.images}
    return {
        reference: any(state.platforms(name, places[name]) for name in users[reference])
        or any(name in seen and isinstance(seen[name].fact, Present) for name in others.get(reference, ()))
        for reference, names in questions.items()
        if all(name in seen and isinstance(seen[name].fact, Absent) for name in names)
    }


def tags(image: ImagePlan, platform: str = "") -> Iterator[str]:
    """The references by which a registry knows the last images of an image's environments; an engine knows none.

    They are those for the image's own platform unless another one is named.
    """
    if image.spec and not is_in_engine(image.reference):
        repository = image.reference.rpartition(":")[0]
        for environment in image.environments:
            yield f"{repository}:{latest_tag(environment, platform or str(image.spec.platform))}"


def latest_tag(environment: str, platform: str) -> str:
    """The tag of the last image that was published for an environment, such as `env-train-linux-amd64`.

    What a tag cannot hold is replaced, and part of a digest of the name added (OCI distribution specification, "Pulling
    manifests").
    """
    wanted = f"env-{environment}-{platform}"
    tag = re.sub(_NO_TAG, "-", f"env-{environment}-{platform.replace('/', '-')}")
    if tag == wanted.replace("/", "-") and len(tag) <= _TAG_LENGTH and "/" not in environment:
        return tag
    mark = hashlib.blake2b(wanted.encode(), digest_size=4).hexdigest()
    return f"{tag[: _TAG_LENGTH - len(mark) - 1]}-{mark}"


def is_tag_of_ours(tag: str) -> bool:
    """Whether a tag has the form of those that flytebuild puts: by the digest of an image, by its environment,
    or by the result that an image holds for the cache (`inline`).
    """
    return bool(re.fullmatch(_OURS, tag))


def _is_for(image: ImagePlan, platform: str) -> bool:
    return image.spec is not None and str(image.spec.platform) == platform


def _records(image: ImagePlan, places: Mapping[str, str], state: State) -> Iterator[EnvironmentRecord]:
    if image.spec and image.status == "missing":
        for name in image.environments:
            if record := state.last(name, places[name], str(image.spec.platform)):
                yield record


def _places(plan: Plan) -> dict[str, str]:
    """Where each environment is defined."""
    return {item.name: item.file or "" for item in plan.environments}


def _composed(image: ImagePlan) -> str:
    assert image.spec is not None  # noqa: S101 - only images of ours are remembered
    return composition(image.spec, digests(image.spec)).encode()


def _trees(image: ImagePlan) -> Iterator[Tree]:
    for step in image.spec.steps if image.spec else ():
        yield from trees_of(step.layer)


def _known_trees(made_of: Composition, state: State) -> dict[str, dict[str, str]]:
    found = {digest: state.tree(digest) for digest in made_of.trees}
    return {digest: files for digest, files in found.items() if files is not None}
