"""What a build would ask of BuildKit, without asking it."""

from __future__ import annotations

from msgspec import Struct

from flytebuild.llb.lower import lower
from flytebuild.llb.marshal import in_order
from flytebuild.plan import ImagePlan, Plan


class Operation(Struct, frozen=True):
    """One vertex of a solve: its digest (`sha256:…`) as it will be in BuildKit's progress, and its name."""

    digest: str
    name: str


class Preview(Struct, frozen=True):
    """One solve: the image, and its operations, inputs first. BuildKit executes those that it has no result of."""

    image: ImagePlan
    operations: tuple[Operation, ...]


def preview(plan: Plan, *, has_bundle: bool) -> tuple[Preview, ...]:
    """The solves of a plan's images that are to be built; indexes are published without one.

    They are those for a BuildKit that merges layers, as all with containerd's store do.

    An image that cannot be solved, since its base is unknown, has no operations; nor has a Dockerfile's, which the
    frontend makes when it is solved.
    """
    return tuple(Preview(image, _operations(image, has_bundle)) for image in plan.to_build if image.spec)


def _operations(image: ImagePlan, has_bundle: bool) -> tuple[Operation, ...]:
    spec = image.spec
    if spec is None or spec.base is None or spec.problem:
        return ()
    return tuple(Operation(item.digest, item.name) for item in in_order(lower(spec, has_bundle=has_bundle)))
