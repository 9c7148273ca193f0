"""Images that no environment reaches any more, among those that a store has. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from msgspec import Struct

from flytebuild.history import tags
from flytebuild.plan import Plan


class Tagged(Struct, frozen=True):
    """A reference that a store has, the digest that it leads to, and whether flytebuild has put it there.

    `platform` is what the image is for; nothing for an index, and where that is not known.
    """

    reference: str
    digest: str
    is_ours: bool
    platform: str = ""


class Named(Protocol):
    """Something in a store: its digest, and all the references that lead there."""

    @property
    def digest(self) -> str: ...

    @property
    def references(self) -> tuple[str, ...]: ...


class Leftover(Struct, frozen=True):
    """What would go: everything that is behind one digest, with all the references that lead there."""

    digest: str
    references: tuple[str, ...]


def leftovers(plan: Plan, found: Iterable[Tagged]) -> tuple[Leftover, ...]:
    """What of `found` may go: all that leads there is ours, and no environment of the plan needs it.

    A registry forgets content, and with it every tag that leads there: one that is needed, or somebody else's, keeps
    it. So does another platform than the plan's: what is needed on that is not known here.
    """
    needed = {image.reference for image in plan.images} | {tag for image in plan.images for tag in tags(image)}
    platforms = {str(image.spec.platform) for image in plan.images if image.spec}
    if any(image.members for image in plan.images):
        platforms.add("")
    behind: dict[str, list[Tagged]] = {}
    for item in found:
        behind.setdefault(item.digest, []).append(item)
    return tuple(
        Leftover(digest, tuple(item.reference for item in items))
        for digest, items in behind.items()
        if all(item.is_ours and item.platform in platforms and item.reference not in needed for item in items)
    )
