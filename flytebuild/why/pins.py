"""What a lock changes in a layer: when it comes, when other wheels are in it, and when it does not count any more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from flytebuild.spec.composition import Listings, by_file
from flytebuild.spec.differences import (
    after_locking,
    before_unlocking,
    listed_changes,
    package_of,
    pin_changes,
    requirement_changes,
)
from flytebuild.spec.layers import Listed
from flytebuild.spec.words import NAMED
from flytebuild.why.change import Change
from flytebuild.why.listings import file_of, listed_in_files, name_of

Pins: TypeAlias = Sequence[Mapping[str, Any]]


def locked(asked: Listings | None, pins: Pins, wanted: Listings | None) -> str:
    """That a lock counts from now on, and what is otherwise than it was `asked` for before, where that is known."""
    said: list[str] = []
    if asked is not None:
        old = _texts(asked)
        new = after_locking(old, pins, old if wanted is None else _texts(wanted))
        said = [words for words, *_ in listed_changes(old, new)]
    return f"is locked now ({'; '.join(said)})" if said else "is locked now"


def unlocked(number: int, origin: str, asked: Listings | None, pins: Pins, wanted: Sequence[Listed]) -> list[Change]:
    """What has moved in layer `number` since it was locked, written at `origin`; nothing where that is not known."""
    new = by_file(wanted)
    if asked is not None and not asked.keys() & new.keys():
        return []  # packages that are written elsewhere now have not moved
    old = {
        path: before_unlocking(None if asked is None else asked.get(path, ()), pins, new.get(path, ()))
        for path in {**new, **(asked or {})}
    }
    if "" in new:
        if old[""] == new[""]:
            return []
        words = "; ".join(requirement_changes(old[""], new[""]))
        return [Change(number, "requirements", f"pip: {words}", old[""], new[""], origin)]
    return [change for _, found in listed_in_files(number, old, wanted, {}) for change in found]


def other_pins(
    number: int, origin: str, asked: Listings | None, wanted: Sequence[Listed], before: Pins, after: Pins
) -> Iterator[Change]:
    """Other wheels in layer `number`: those for which files ask in another way are told with these files' lines."""
    places = dict(_rewritten(asked, wanted))
    for name, (file, place) in places.items():
        old, new = ([pin for pin in pins if pin["name"] == name] for pins in (before, after))
        if old != new:
            words = "; ".join(pin_changes(old, new))
            yield Change(number, "requirement", f"{name_of(file)}: {words}", _written(old), _written(new), place)
    old, new = ([pin for pin in pins if pin["name"] not in places] for pins in (before, after))
    if old != new:
        told = list(pin_changes(old, new))
        rest = [f"and {len(told) - NAMED} more"] if len(told) > NAMED else []
        yield Change(number, "pins", f"pip: {'; '.join([*told[:NAMED], *rest])}", old, new, origin)


def _rewritten(asked: Listings | None, wanted: Sequence[Listed]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Packages for which files do not ask as before, or nobody knows how they did; each with its file and its place."""
    for item in wanted:
        if item.path and item.text not in (asked or {}).get(item.path, ()):
            yield package_of(item.text), (file_of(item.path, wanted), item.place)
    names = {package_of(item.text) for item in wanted}
    for path, texts in (asked or {}).items():
        file = file_of(path, wanted)
        yield from ((name, (file, file)) for name in map(package_of, texts) if file and name not in names)


def _written(pins: Pins) -> str | None:
    return next((f"{pin['name']}=={pin['version']}" for pin in pins), None)


def _texts(listings: Listings) -> list[str]:
    return [text for texts in listings.values() for text in texts]
