"""Images that no environment reaches any more, among those that a store has. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct, field

from flytebuild.history import tags
from flytebuild.plan import Plan
from flytebuild.size import StoredLayer


class Tagged(Struct, frozen=True):
    """A reference that a store has, the digest that it leads to, and whether flytebuild has put it there.

    `platform` is what the image is for; nothing for an index, and where that is not known. `made` is when, and `layers`
    are those of an image of ours, as far as it says so.
    """

    reference: str
    digest: str
    is_ours: bool
    platform: str = ""
    made: datetime | None = None
    layers: tuple[StoredLayer, ...] = ()


class Named(Protocol):
    """Something in a store: its digest, and all the references that lead there."""

    @property
    def digest(self) -> str: ...

    @property
    def references(self) -> tuple[str, ...]: ...


class Leftover(Struct, frozen=True):
    """What would go: everything that is behind one digest, with all the references that lead there.

    `made` is when, where that is known; `size` the bytes of its layers, and `own` those of each, by digest, that no
    image of ours has which stays.
    """

    digest: str
    references: tuple[str, ...]
    made: datetime | None = None
    size: int = 0
    own: Mapping[str, int] = field(default_factory=dict)


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
    going = {
        digest
        for digest, items in behind.items()
        if all(item.is_ours and item.platform in platforms and item.reference not in needed for item in items)
    }
    staying = {layer.digest for digest, (item, *_) in behind.items() if digest not in going for layer in item.layers}
    return tuple(_leftover(items, staying) for digest, items in behind.items() if digest in going)


def _leftover(items: Sequence[Tagged], staying: Collection[str]) -> Leftover:
    first, layers = items[0], {layer.digest: layer.size for layer in items[0].layers}
    own = {digest: size for digest, size in layers.items() if digest not in staying}
    return Leftover(first.digest, tuple(item.reference for item in items), first.made, sum(layers.values()), own)
