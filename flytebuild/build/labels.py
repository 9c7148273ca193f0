"""What an image says of itself, in its labels."""

from __future__ import annotations

from collections.abc import Mapping

from flytebuild.facts import Present
from flytebuild.history import is_tag_of_ours
from flytebuild.leftovers import Tagged
from flytebuild.plan import Observation
from flytebuild.registry.layers import Described
from flytebuild.spec.composition import composition, decode
from flytebuild.spec.digests import ImageDigests
from flytebuild.spec.images import OUR_LABELS
from flytebuild.spec.model import ImageSpec

IMAGE = f"{OUR_LABELS}image"
LAYERS = f"{OUR_LABELS}layers"
SPEC = f"{OUR_LABELS}spec"


def labels(spec: ImageSpec, spec_digests: ImageDigests) -> dict[str, str]:
    """The image's digest, its layers' digests, and the canonical documents that they are digests of."""
    return {
        IMAGE: spec_digests.image,
        LAYERS: ",".join(spec_digests.layers),
        SPEC: composition(spec, spec_digests).encode(),
    }


def observation(fact: Present, found: Mapping[str, str]) -> Observation:
    """What an image that is there says of itself."""
    layers = frozenset(filter(None, found.get(LAYERS, "").split(",")))
    return Observation(fact, layers, found.get(IMAGE, ""), decode(found.get(SPEC, "")))


def tagged(reference: str, digest: str, found: Described | None) -> Tagged:
    """What a store has, judged by what the image says of itself: a tag alone proves nothing."""
    if found is None or IMAGE not in found.labels:
        return Tagged(reference, digest, is_ours=False)
    made_of = decode(found.labels.get(SPEC, ""))
    platform = str(made_of.base.get("platform", "")) if made_of else ""
    is_ours = is_tag_of_ours(reference.rpartition(":")[2])
    return Tagged(reference, digest, is_ours, platform, found.made, found.layers)
