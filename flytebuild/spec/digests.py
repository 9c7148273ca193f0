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
from functools import lru_cache

from msgspec import Struct

from flytebuild.spec.canonical import SCHEMA, Document, digest, digest_bytes, split
from flytebuild.spec.images import Platform, ResolvedImage, RuntimeConfig
from flytebuild.spec.model import ImageSpec

TAG_PREFIX = "b3-"
_TAG_DIGITS = 32


class ImageDigests(Struct, frozen=True):
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
        tip = _layer_digest(tip, step.around_parent)
        layers.append(tip)
    config = _config_digest(spec.config)
    before, after = _around_layers(config, spec.platform)
    return ImageDigests(base, tuple(layers), config, digest_bytes("image", before + tip.encode() + after))


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


def image_document(config: str, layers: str, platform: Platform) -> Document:
    """What an image's digest is taken of, from the digests of its config and of its last layer."""
    return {"config": config, "layers": layers, "platform": str(platform), "schema": SCHEMA}


# Most images of a plan share layers, and so do its calls for one image.
@lru_cache(maxsize=4096)
def _layer_digest(parent: str, around: tuple[bytes, bytes]) -> str:
    before, after = around
    return digest_bytes("layer", before + parent.encode() + after)


@lru_cache(maxsize=1024)
def _around_layers(config: str, platform: Platform) -> tuple[bytes, bytes]:
    return split(image_document(config, "", platform), "layers")


@lru_cache(maxsize=1024)
def _base_digest(base: ResolvedImage | None, platform: Platform) -> str:
    return digest("base", base_document(base, str(platform)))


@lru_cache(maxsize=1024)
def _config_digest(config: RuntimeConfig) -> str:
    return digest("config", {"schema": SCHEMA, **config.document()})
