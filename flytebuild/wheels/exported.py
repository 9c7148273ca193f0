"""What `uv sync` has chosen of a `uv.lock`, as a lock by the packaging standards (PEP 751, `pylock.toml`). Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from msgspec.structs import replace
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from flytebuild.spec.layers import Pin
from flytebuild.wheels import pylock
from flytebuild.wheels.arguments import NotLockableError

Table: TypeAlias = Mapping[str, Any]

_ELSEWHERE = {"archive": "comes from a URL", "directory": "is a folder", "vcs": "comes from version control"}
_OF_THE_KERNEL = re.compile(r"platform_(?:release|version)")
_PYPI = "https://pypi.org/simple"


def check(exported: Table, python: str) -> None:
    """Raise NotLockableError for what is no package of an index, or is chosen by more than a Python and a platform."""
    for package in exported.get("packages", ()):
        for kind, words in _ELSEWHERE.items():
            if kind in package:
                raise NotLockableError(f"its package `{package['name']}` {words}")
        if _OF_THE_KERNEL.search(str(package.get("marker", ""))):
            raise NotLockableError(f"whether it needs `{package['name']}` is known only where it runs")
    wanted = str(exported.get("requires-python", ""))
    if not SpecifierSet(wanted).contains(python, prereleases=True):
        raise NotLockableError(f"it wants Python {wanted}, and this image has {python}")


def pins(
    exported: Table, versions: Mapping[str, str], choose: Callable[[Sequence[str]], str | None]
) -> tuple[Pin, ...]:
    """The wheels of some versions, sorted by name. Raises NotLockableError where there are none."""
    told = [pylock.pin(package, choose) for package in _those(exported, versions)]
    found = [replace(item, url=pylock.without_credentials(item.url)) for item in told]
    if len(found) != len(versions):
        raise NotLockableError("its `uv.lock` has a version of several indexes")
    return tuple(sorted(found, key=lambda item: item.name))


def indexes(exported: Table, versions: Mapping[str, str]) -> tuple[str, ...]:
    """The options of `uv pip install` by which it finds those versions, whose hashes say which files they are.

    No index is asked that has none of them.
    """
    urls = sorted({str(package.get("index", "")).rstrip("/") for package in _those(exported, versions)})
    default = _PYPI if _PYPI in urls else next(iter(urls), _PYPI)
    words = ["--default-index", default] if default != _PYPI else []
    words += [word for url in urls if url != default for word in ("--index", url)]
    return (*words, *(("--index-strategy", "unsafe-best-match") if len(urls) > 1 else ()))


def check_satisfied(exported: Table, versions: Mapping[str, str], elsewhere: Collection[str]) -> None:
    """Raise NotLockableError where a package is there already, but `elsewhere`: from no index.

    `uv sync` installs it again then, and `uv pip install`, which says what changes, does not.
    """
    for package in exported.get("packages", ()):
        if (name := canonicalize_name(package["name"])) in elsewhere and name not in versions:
            raise NotLockableError(f"`{name}` of its base is from no index")


def _those(exported: Table, versions: Mapping[str, str]) -> Iterator[Table]:
    for package in exported.get("packages", ()):
        if versions.get(canonicalize_name(package["name"])) == str(package.get("version", "")):
            yield package
