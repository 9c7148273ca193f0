"""What the lock of a project installs: of uv's the packages that are reached from the project, else all that it names.

https://docs.astral.sh/uv/concepts/projects/sync/
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from flytebuild.check import distributions
from flytebuild.spec.requirement import normal_name

Table: TypeAlias = Mapping[str, Any]

_WITH_VALUE = ("--extra", "--group", "--no-group")
_CHOICES = (*_WITH_VALUE, "--all-extras", "--all-groups", "--dev", "--no-dev", "--no-default-groups")
_HARMLESS = ("--frozen", "--locked", "--no-progress", "--quiet", "-q", "--verbose", "-v", "--no-cache")
"""Options of `uv sync` that install nothing else."""


def installed(lock: Table, manifest: Table, arguments: str = "") -> frozenset[str]:
    """The distributions of a lock that `uv sync` with these arguments installs, by their names.

    Without those that lie in folders, whose files tell what they are. Where it is not known which are chosen, all that
    the lock names are; what only another Python or machine needs always is.
    """
    packages: dict[str, list[Table]] = {}
    for package in _tables(lock.get("package")):
        if isinstance(name := package.get("name"), str):
            packages.setdefault(normal_name(name), []).append(package)
    root = _root(packages, manifest)
    chosen = _options(arguments)
    names = packages.keys() if root is None or chosen is None else _reached(root, manifest, chosen, packages)
    return frozenset(name for name in names if not all(map(_is_local, packages.get(name, ()))))


def _reached(
    root: Table, manifest: Table, chosen: Sequence[tuple[str, str]], packages: Mapping[str, Sequence[Table]]
) -> set[str]:
    extras, groups = _choice(root, manifest, chosen)
    needs = [*_needs(root, extras), *(need for name in groups for need in _list(root, "dev-dependencies", name))]
    found: dict[str, frozenset[str]] = {}
    pending = list(needs)
    while pending:
        need = pending.pop()
        name, asked = normal_name(str(need.get("name", ""))), frozenset(map(str, need.get("extra", ())))
        if not distributions.applies(str(need.get("marker", ""))) or (name in found and asked <= found[name]):
            continue
        found[name] = found.get(name, frozenset()) | asked
        pending += [item for package in packages.get(name, ()) for item in _needs(package, found[name])]
    return set(found)


def _choice(root: Table, manifest: Table, chosen: Sequence[tuple[str, str]]) -> tuple[set[str], set[str]]:
    """The extras and the groups of a project that are installed."""
    extras, groups = (set(_table(root.get(kind))) for kind in ("optional-dependencies", "dev-dependencies"))
    defaults = _table(_table(manifest.get("tool")).get("uv")).get("default-groups", ["dev"])
    names = [name for name, _ in chosen]
    without = {value for name, value in chosen if name == "--no-group"} | ({"dev"} if "--no-dev" in names else set())
    wanted = set() if "--no-default-groups" in names else groups if defaults == "all" else {*map(str, defaults)}
    wanted |= {"dev"} if "--dev" in names else set()
    wanted |= groups if "--all-groups" in names else {value for name, value in chosen if name == "--group"}
    asked = extras if "--all-extras" in names else {value for name, value in chosen if name == "--extra"}
    return asked, wanted - without


def _options(arguments: str) -> list[tuple[str, str]] | None:
    """What is chosen of a project; None where an option is there that is not understood here."""
    try:
        words = shlex.split(arguments)
    except ValueError:
        return None
    found = []
    while words:
        name, equals, value = words.pop(0).partition("=")
        if name not in _CHOICES and name not in _HARMLESS:
            return None
        if name in _WITH_VALUE and not equals:
            value = words.pop(0) if words else ""
        found.append((name, normal_name(value)))
    return found


def _root(packages: Mapping[str, Sequence[Table]], manifest: Table) -> Table | None:
    """The project's own package in a lock of uv's."""
    name = _table(manifest.get("project")).get("name")
    found = packages.get(normal_name(name), ()) if isinstance(name, str) else ()
    return next((package for package in found if _is_local(package)), None)


def _needs(package: Table, extras: Collection[str]) -> Iterator[Table]:
    yield from _tables(package.get("dependencies"))
    for extra in extras:
        yield from _list(package, "optional-dependencies", extra)


def _is_local(package: Table) -> bool:
    return not {"virtual", "editable", "directory"}.isdisjoint(_table(package.get("source")))


def _list(package: Table, kind: str, name: str) -> list[Table]:
    found = _table(package.get(kind))
    return _tables(next((found[key] for key in found if normal_name(key) == normal_name(name)), None))


def _table(value: object) -> Table:
    return value if isinstance(value, Mapping) else {}


def _tables(values: object) -> list[Table]:
    return [item for item in values if isinstance(item, Mapping)] if isinstance(values, list) else []
