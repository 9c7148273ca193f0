"""Images that are missing and need no build: they are there, or are made, under another name. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec.structs import replace

from flytebuild.facts import Present
from flytebuild.plan.model import ImagePlan, Observation
from flytebuild.plan.places import is_in_engine
from flytebuild.spec.digests import tag_of


def with_copies(images: Sequence[ImagePlan], elsewhere: Mapping[str, str]) -> Iterator[ImagePlan]:
    """The images, those as copies that are missing here and there under another name, or built under one."""
    there: dict[str, list[str]] = {}
    for target, digest in elsewhere.items():
        there.setdefault(digest, []).append(target)
    built: dict[tuple[str | None, bool], str] = {}
    for image in images:
        if image.status == "present" and image.digest:
            there.setdefault(image.digest, []).insert(0, image.reference)
        elif image.status == "missing" and image.spec:
            built.setdefault((image.digest, is_in_engine(image.reference)), image.reference)
    for image in images:
        yield (
            image
            if image.status != "missing" or not image.spec
            else replace(image, copied_from=_source(image, there.get(image.digest or "", ()), built))
        )


def _source(image: ImagePlan, there: Sequence[str], built: Mapping[tuple[str | None, bool], str]) -> str | None:
    """Where an image is copied from, best within its registry; None when it is the one to build."""
    kind = is_in_engine(image.reference)
    registry = image.reference.partition("/")[0]
    candidates = [target for target in there if is_in_engine(target) == kind]
    if candidates:
        return min(candidates, key=lambda target: target.partition("/")[0] != registry)
    first = built[image.digest, kind]
    return first if first != image.reference else None


def is_kept(target: str, observation: Observation) -> bool:
    """Whether an image is there under a tag that means it: behind others there may be another one tomorrow."""
    return isinstance(observation.fact, Present) and target.endswith(f":{tag_of(observation.image)}")
