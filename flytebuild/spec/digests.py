"""Digests of an image spec: the base, a Merkle chain of layers, the config, and the image over all of them.

base    = H(base,   {image, platform})
layer i = H(layer,  {kind, emitter, spec, step, parent: layer i-1 or base})
config  = H(config, what reaches a container)
image   = H(image,  {platforms: {platform: tip}, config})
"""

from __future__ import annotations

from dataclasses import dataclass

from flytebuild.spec.canonical import SCHEMA, Document, Value, digest
from flytebuild.spec.model import EMITTERS, ImageSpec, ResolvedImage, RuntimeConfig, Step

TAG_PREFIX = "b3-"


@dataclass(frozen=True, slots=True)
class ImageDigests:
    """64 hex digits each; `layers` are in the order of the spec's steps."""

    base: str
    layers: tuple[str, ...]
    config: str
    image: str

    @property
    def tag(self) -> str:
        """The tag that images of this digest are published under (128 bits of it)."""
        return TAG_PREFIX + self.image[:32]


def digests(spec: ImageSpec) -> ImageDigests:
    """All digests of one spec."""
    base = digest("base", base_document(spec.base, str(spec.platform)))
    tip, layers = base, []
    for step in spec.steps:
        tip = digest("layer", layer_document(step, tip))
        layers.append(tip)
    config = digest("config", {"schema": SCHEMA, **spec.config.document()})
    image = digest("image", {"config": config, "platforms": {str(spec.platform): tip}, "schema": SCHEMA})
    return ImageDigests(base, tuple(layers), config, image)


def base_document(base: ResolvedImage, platform: str) -> Document:
    """The base by its manifest digest; by its name while that is unknown, which no resolved base equals."""
    identity = {"image": base.digest} if base.digest else {"unresolved": base.reference}
    return {**identity, "platform": platform, "schema": SCHEMA}


def layer_document(step: Step, parent: str) -> Document:
    """What a layer's digest is taken of. Files do not see the environment; steps that execute do."""
    document: dict[str, Value] = {
        "emitter": EMITTERS[step.layer.kind],
        "kind": step.layer.kind,
        "parent": parent,
        "schema": SCHEMA,
        "spec": step.layer.fields(),
    }
    if step.layer.kind != "uv":
        document["step"] = _execution(step.context)
    return document


def _execution(context: RuntimeConfig) -> Document:
    return {"cwd": context.workdir, "env": [list(pair) for pair in context.env], "user": context.user or "root"}
