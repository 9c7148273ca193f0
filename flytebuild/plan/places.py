"""Where images are published."""

from __future__ import annotations

from flytebuild.plan.model import Variants
from flytebuild.spec.digests import digests, index_digest, tag_of
from flytebuild.spec.model import ImageSpec

ENGINE_REGISTRY = "flytebuild.local"
"""The registry part of images that live in the engine's own store; no such host exists, so nobody can pull one."""


def reference(spec: ImageSpec, tag: str, registry: str | None) -> str:
    """Where an image is published: the registry the user gave the image, else the configured one, else the engine."""
    return f"{spec.registry or registry or ENGINE_REGISTRY}/{spec.name}:{tag}"


def references(variants: Variants, registry: str | None) -> tuple[str, ...]:
    """Where the images of one definition are published: each platform's, and last the one that a container is given."""
    single = [reference(spec, digests(spec).tag, registry) for spec in variants.values()]
    if len(variants) == 1:
        return tuple(single)
    return (*single, reference(next(iter(variants.values())), tag_of(digest_of_index(variants)), registry))


def is_in_engine(reference: str) -> bool:
    """Whether a reference is one of the engine's own store, and not of a registry."""
    return reference.startswith(f"{ENGINE_REGISTRY}/")


def registry_of(reference: str) -> str:
    """The registry in a reference: its host, with the port if there is one."""
    return reference.partition("/")[0]


def digest_of_index(variants: Variants) -> str:
    """The digest of an image for several platforms."""
    return index_digest({platform: digests(spec).image for platform, spec in variants.items()})
