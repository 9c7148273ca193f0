"""What lists of packages differ in, in words: by the packages' names, and by their versions where these are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flytebuild.spec.requirement import parse


def requirement_changes(before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    """Lists of requirements, or of Debian's packages; the order counts where nothing else differs."""
    found = [words for words, *_ in listed_changes(before, after)]
    yield from found
    if not found:
        old, new = (list(dict.fromkeys(map(package_of, items))) for items in (before, after))
        yield "the same in another order" if old != new else "listed another number of times"


def listed_changes(before: Sequence[str], after: Sequence[str]) -> Iterator[tuple[str, str | None, str | None]]:
    """The same without a word on the order, each with the items that it is about, of `before` and of `after`."""
    old, new = ({package_of(item): item for item in items} for items in (before, after))
    for name in [*new, *(item for item in old if item not in new)]:
        if name not in old:
            yield f"{new[name]} is new", None, new[name]
        elif name not in new:
            yield f"{old[name]} is gone", old[name], None
        elif old[name] != new[name]:
            versions = _version(old[name]), _version(new[name])
            is_plain = all(versions) and versions[0] != versions[1]
            words = f"{name} {versions[0]} → {versions[1]}" if is_plain else f"{old[name]} → {new[name]}"
            yield words, old[name], new[name]


def pin_changes(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Pins, as `flytebuild.spec.layers.Pin.document` has them; an equal version may be another file."""
    old, new = ({item["name"]: item for item in items} for items in (before, after))
    for name in sorted({*old, *new}):
        if name not in old:
            yield f"{name} {new[name]['version']} is new"
        elif name not in new:
            yield f"{name} {old[name]['version']} is gone"
        elif old[name]["version"] != new[name]["version"]:
            yield f"{name} {old[name]['version']} → {new[name]['version']}"
        elif old[name] != new[name]:
            same = old[name]["filename"] == new[name]["filename"]
            what = "the file has another content" if same else f"{old[name]['filename']} → {new[name]['filename']}"
            yield f"{name} {new[name]['version']}: {what}"
    if old == new:
        yield "the same in another order"


def before_unlocking(
    asked: Sequence[str] | None, pins: Sequence[Mapping[str, Any]], wanted: Sequence[str]
) -> list[str]:
    """What to compare requirements with that are in the place of pins: what was `asked` for, None if not known.

    Where the pinned version is none that is wanted now it is that which has moved, whatever was asked for.
    """
    known = {package_of(item): item for item in asked or ()}
    found = []
    for item in wanted:
        was = known.pop(package_of(item), item if asked is None else None)
        if not _is_met(item, pins) and item not in (asked or ()):
            found.append(_pinned(item, pins))
        elif was:
            found.append(was)
    return [*found, *known.values()]


def after_locking(asked: Sequence[str], pins: Sequence[Mapping[str, Any]], wanted: Sequence[str]) -> list[str]:
    """What to compare with what was `asked` for before there were pins, that what is `wanted` now has come to.

    What nobody asks for any more may be pinned all the same: it came along.
    """
    known = {package_of(item): item for item in asked}
    names = set(map(package_of, wanted))
    along = (item for name, item in known.items() if name not in names and _version_of(name, pins))
    found = []
    for item in (*wanted, *along):
        was = known.get(package_of(item))
        if was and _version_of(package_of(was), pins):
            item = was if _is_met(was, pins) else _pinned(was, pins)
        found.append(item)
    return found


def _is_met(item: str, pins: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a requirement's package is pinned to a version that it allows, or not at all."""
    wanted, version = parse(item), _version_of(package_of(item), pins)
    return not (wanted and version) or wanted.allows(version)


def _pinned(item: str, pins: Sequence[Mapping[str, Any]]) -> str:
    """A requirement of the version that its package is pinned to."""
    wanted = parse(item)
    return f"{wanted.written if wanted else item}=={_version_of(package_of(item), pins)}"


def _version_of(name: str, pins: Sequence[Mapping[str, Any]]) -> str:
    return next((str(item["version"]) for item in pins if item["name"] == name), "")


def package_of(item: str) -> str:
    """The name of a package of Python or Debian; the whole text for what has none."""
    found = parse(item)
    return found.name if found else item.partition("=")[0]


def _version(item: str) -> str:
    """The one version that a requirement allows, else nothing."""
    found = parse(item)
    if found is None:
        return item.partition("=")[2]
    versions = [version for operator, version in found.specifiers if operator == "=="]
    return versions[0] if len(found.specifiers) == 1 and versions and not (found.extras or found.marker) else ""
