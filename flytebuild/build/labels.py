"""What an image says of itself, in its labels."""

from __future__ import annotations

from collections.abc import Mapping

from flytebuild.facts import Present
from flytebuild.plan import Observation
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
