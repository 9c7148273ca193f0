"""Everything that an image's digest is taken of: each document's canonical bytes, and the digest of them."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from flytebuild.spec.canonical import SCHEMA, Domain, context, encode
from flytebuild.spec.digests import base_document, digests, image_document
from flytebuild.spec.layers import Pinned
from flytebuild.spec.model import ImageSpec


class KeyPart(Struct, frozen=True):
    """One document of an image's key. `digest` is BLAKE3 of `content`, with `context` as its key derivation context.

    `summary` says what it is about, and `origin` is `file:line` in the user's code, or nothing.
    """

    kind: str
    context: str
    digest: str
    content: bytes
    summary: str = ""
    origin: str = ""


def key(spec: ImageSpec) -> Iterator[KeyPart]:
    """The parts of an image's key in the order in which they depend on one another: base, layers, config, image.

    Wheel layers come right before the layer whose packages they are.
    """
    found = digests(spec)
    base = f"{spec.base.reference} for {spec.platform}" if spec.base else "nothing"
    yield _part("base", "base", found.base, encode(base_document(spec.base, str(spec.platform))), base)
    parent = found.base
    for step, digest in zip(spec.steps, found.layers, strict=True):
        for wheels in step.layer.layers if isinstance(step.layer, Pinned) else ():
            yield _part("wheel-layer", "wheels", wheels.key, encode(wheels.document()), wheels.summary, step.origin)
        content = encode(step.document(parent))
        yield _part(step.layer.kind, "layer", digest, content, step.layer.summary, step.origin)
        parent = digest
    config = encode({"schema": SCHEMA, **spec.config.document()})
    yield _part("config", "config", found.config, config, "what containers are started with")
    image = encode(image_document(found.config, parent, spec.platform))
    yield _part("image", "image", found.image, image, "all of it")


def _part(kind: str, domain: Domain, digest: str, content: bytes, summary: str, origin: str = "") -> KeyPart:
    return KeyPart(kind, context(domain), digest, content, summary, origin)
