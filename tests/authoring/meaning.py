"""What a `flyte.Image` means, as one text: equal for equal images, and only for those."""

import hashlib
import itertools
from collections.abc import Mapping

import flyte
from msgspec.structs import replace

from flytebuild.authoring.images import Reader
from flytebuild.spec.digests import digests, index_digest
from flytebuild.spec.images import Platform, ResolvedImage
from flytebuild.spec.model import ExternalImage, ImageSpec
from flytebuild.spec.specify import images_needed, specify
from tests.samples import BASE


def extendable(base: str = "r.example/base:1", **fields: object) -> flyte.Image:
    """An image to put layers on; its base is not Flyte's."""
    image = flyte.Image.from_base(base).clone(registry="r.example", name="x", extendable=True)
    return image.clone(**fields) if fields else image  # type: ignore[arg-type]


def meaning(image: object, *, moved: Mapping[str, str] | None = None) -> str:
    """The tag's digest over all platforms that an image is for, or the reference of one that is used as it is.

    Images outside are found by their name, with a digest that is derived from it but for those in `moved`.
    """
    found = specs(image, moved=moved)
    if isinstance(found, str):
        return found
    return index_digest({platform: digests(spec).image for platform, spec in found.items()})


def specs(image: object, *, moved: Mapping[str, str] | None = None) -> dict[Platform, ImageSpec] | str:
    """The same as pinned specs by platform."""
    definition = Reader().define(image, "env")
    if isinstance(definition, ExternalImage):
        return definition.reference
    return {
        platform: specify(
            definition,
            platform,
            {name: resolved(name, platform, (moved or {}).get(name, "")) for name in images_needed(definition)},
        )
        for platform in definition.platforms
    }


def resolved(name: str, platform: Platform, version: str = "") -> ResolvedImage:
    """What a registry would say of an image."""
    digest = hashlib.sha256(f"{name} {platform} {version}".encode()).hexdigest()
    return replace(BASE, reference=name, location=name, digest=f"sha256:{digest}")


def differ(*images: object) -> None:
    """Every two of these are different images. What is text already is compared as it is."""
    found = [image if isinstance(image, str) else meaning(image) for image in images]
    for (first, one), (second, other) in itertools.combinations(enumerate(found), 2):
        assert one != other, f"images {first} and {second} share a digest"


def same(*images: object) -> None:
    """All of these are one image."""
    found = [image if isinstance(image, str) else meaning(image) for image in images]
    assert len(set(found)) == 1, found
