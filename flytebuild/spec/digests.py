"""Digests of an image spec: the base, a Merkle chain of layers, the config, and the image over all of them.

base    = H(base,   {image, platform})
layer i = H(layer,  {kind, emitter, spec, step, parent: layer i-1 or base})
config  = H(config, what reaches a container)
image   = H(image,  {config, layers: the last layer, platform})
index   = H(index,  {platforms: {platform: image}})

`docs/spec.md` has the details.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from flytebuild.spec.canonical import SCHEMA, Document, Value, digest, digest_bytes, encode
from flytebuild.spec.images import Platform, ResolvedImage, RuntimeConfig
from flytebuild.spec.layers import EMITTERS, EXECUTING
from flytebuild.spec.model import ImageSpec, Step

TAG_PREFIX = "b3-"
_TAG_DIGITS = 32


@dataclass(frozen=True, slots=True)
class ImageDigests:
    """64 hex digits each; `layers` are in the order of the spec's steps."""

    base: str
    layers: tuple[str, ...]
    config: str
    image: str

    @property
    def tag(self) -> str:
        """The tag that images of this digest are published under."""
        return tag_of(self.image)


def digests(spec: ImageSpec) -> ImageDigests:
    """All digests of one spec."""
    base = _base_digest(spec.base, spec.platform)
    tip, layers = base, []
    for step in spec.steps:
        tip = digest_bytes("layer", _layer_bytes(step, tip))
        layers.append(tip)
    config = _config_digest(spec.config)
    image = digest("image", {"config": config, "layers": tip, "platform": str(spec.platform), "schema": SCHEMA})
    return ImageDigests(base, tuple(layers), config, image)


def index_digest(images: Mapping[Platform, str]) -> str:
    """The digest of an image for several platforms, from the image digest of each."""
    return digest("index", {"platforms": {str(item): image for item, image in images.items()}, "schema": SCHEMA})


def tag_of(image: str) -> str:
    """The tag of an image or index digest (128 bits of it)."""
    return TAG_PREFIX + image[:_TAG_DIGITS]


def base_document(base: ResolvedImage | None, platform: str) -> Document:
    """What the chain starts with: the base's manifest; nothing at all under a Dockerfile."""
    identity: Document = base.identity() if base else {"scratch": True}
    return {**identity, "platform": platform, "schema": SCHEMA}


def layer_document(step: Step, parent: str) -> Document:
    """What a layer's digest is taken of. Files do not see the environment; steps that execute do."""
    kind = step.layer.kind
    document: dict[str, Value] = {
        "emitter": EMITTERS[kind],
        "kind": kind,
        "parent": parent,
        "schema": SCHEMA,
        "spec": step.layer.fields(),
    }
    if kind in EXECUTING:
        document["step"] = _execution(step.context)
    return document


def _layer_bytes(step: Step, parent: str) -> bytes:
    """The canonical bytes of a layer's document, put together from its parts: many steps see the same environment."""
    kind = step.layer.kind
    head = f'{{"emitter":{EMITTERS[kind]},"kind":"{kind}","parent":"{parent}","schema":{SCHEMA},"spec":'
    tail = b',"step":' + _execution_bytes(step.context) + b"}" if kind in EXECUTING else b"}"
    return head.encode() + encode(step.layer.fields()) + tail


@lru_cache(maxsize=1024)
def _execution_bytes(context: RuntimeConfig) -> bytes:
    return encode(_execution(context))


@lru_cache(maxsize=1024)
def _base_digest(base: ResolvedImage | None, platform: Platform) -> str:
    return digest("base", base_document(base, str(platform)))


@lru_cache(maxsize=1024)
def _config_digest(config: RuntimeConfig) -> str:
    return digest("config", {"schema": SCHEMA, **config.document()})


def _execution(context: RuntimeConfig) -> Document:
    return {"cwd": context.workdir, "env": dict(context.env), "user": context.user or "root"}
