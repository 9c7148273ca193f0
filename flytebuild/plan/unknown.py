"""What could not be found out of a plan's images, as the error of whoever cannot do without. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from flytebuild.errors import EngineUnavailableError, RegistryUnavailableError, UnavailableError
from flytebuild.plan.model import ImagePlan, Plan
from flytebuild.plan.places import is_in_engine, registry_of

CHECK_REGISTRY = (
    "check `registry` in the configuration (or `FLYTEBUILD_REGISTRY`) and the network; "
    "without one, images stay in the engine's own store"
)
"""What to do about a registry of images of ours that does not answer."""


def silent(images: Sequence[ImagePlan]) -> str:
    """That the registries of these images do not answer, as the beginning of a sentence."""
    hosts = tuple(dict.fromkeys(f"`{registry_of(image.reference)}`" for image in images))
    who = f"registry {hosts[0]} does" if len(hosts) == 1 else f"registries {', '.join(hosts)} do"
    return f"The {who} not answer"


def undecided(images: Sequence[ImagePlan]) -> UnavailableError | None:
    """The error where nobody knows which image is needed: its base is out of reach. None where there is no such one."""
    for image in images:
        if image.spec and image.spec.problem:
            names = ", ".join(f"`{name}`" for name in image.environments)
            return UnavailableError(
                f"It is not known which image {names} needs: {image.spec.problem}",
                hint="check the name and the network, or set `mirrors` to where the base can be found",
            )
    return None


def unmeasured(plan: Plan) -> UnavailableError | None:
    """The error where it is not known of all images whether they are there, and so how large; None where it is."""
    images = unknown(plan)
    if not images:
        return None
    if error := undecided(images):
        return error
    names = ", ".join(f"`{name}`" for image in images for name in image.environments)
    what = f"the image of {names} is" if len(images) == 1 else f"the images of {names} are"
    if all(image.reference in plan.unreachable for image in images):
        message = f"{silent(images)}, so it is not known how large {what}"
        return RegistryUnavailableError(message, hint=CHECK_REGISTRY)
    kind = EngineUnavailableError if all(is_in_engine(item.reference) for item in images) else RegistryUnavailableError
    reasons = "; ".join(dict.fromkeys(image.reason for image in images))
    return kind(
        f"It is not known how large {what}: {reasons}", hint="`flytebuild doctor` looks at what does not answer"
    )


def unknown(plan: Plan) -> tuple[ImagePlan, ...]:
    """The images of which it could not be found out whether they are there; an index is told by those it lists."""
    return tuple(image for image in plan.images if image.status == "unknown" and not image.members)
