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
        old, new = (list(dict.fromkeys(map(_package, items))) for items in (before, after))
        yield "the same in another order" if old != new else "listed another number of times"


def listed_changes(before: Sequence[str], after: Sequence[str]) -> Iterator[tuple[str, str | None, str | None]]:
    """The same without a word on the order, each with the items that it is about, of `before` and of `after`."""
    old, new = ({_package(item): item for item in items} for items in (before, after))
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


def unmet_requirements(pins: Sequence[Mapping[str, Any]], requirements: Sequence[str]) -> Iterator[str]:
    """Requirements that want another version than the one that is pinned."""
    for name, version, asked in _unmet(pins, requirements):
        yield f"{name} {version} → {asked}"


def moved_requirements(requirements: Sequence[str], pins: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Requirements that wanted another version than the one that is pinned now."""
    for name, version, asked in _unmet(pins, requirements):
        yield f"{name} {asked} → {version}"


def gone_requirements(before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    """What is asked for no more, by the packages' names."""
    names = set(map(_package, after))
    for item in before:
        if _package(item) not in names:
            yield f"{item} is gone"


def _unmet(pins: Sequence[Mapping[str, Any]], requirements: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """The name, the pinned version, and the version or the requirement that does not allow it."""
    versions = {item["name"]: item["version"] for item in pins}
    for item in requirements:
        wanted = parse(item)
        version = versions.get(wanted.name) if wanted else None
        if wanted and version and not wanted.allows(version):
            yield wanted.written, version, _version(item) or item


def _package(item: str) -> str:
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
