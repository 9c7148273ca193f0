"""What an image says of itself, in its labels."""

from __future__ import annotations

from collections.abc import Mapping

from flytebuild.facts import Present
from flytebuild.plan import Observation
from flytebuild.spec.canonical import Value, encode
from flytebuild.spec.digests import ImageDigests, base_document
from flytebuild.spec.images import OUR_LABELS
from flytebuild.spec.model import ImageSpec

IMAGE = f"{OUR_LABELS}image"
LAYERS = f"{OUR_LABELS}layers"
SPEC = f"{OUR_LABELS}spec"


def labels(spec: ImageSpec, spec_digests: ImageDigests) -> dict[str, str]:
    """The image's digest, its layers' digests, and the canonical documents that they are digests of."""
    parents = (spec_digests.base, *spec_digests.layers)
    documents: dict[str, Value] = {
        "base": base_document(spec.base, str(spec.platform)),
        "layers": [step.document(parent) for step, parent in zip(spec.steps, parents, strict=False)],
        "config": spec.config.document(),
    }
    return {
        IMAGE: spec_digests.image,
        LAYERS: ",".join(spec_digests.layers),
        SPEC: encode(documents).decode(),
    }


def observation(fact: Present, found: Mapping[str, str]) -> Observation:
    """What an image that is there says of itself."""
    return Observation(fact, frozenset(filter(None, found.get(LAYERS, "").split(","))), found.get(IMAGE, ""))
