"""The packages that files of projects list, each with its line: to tell later which of them changed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from flytebuild.authoring.site import relative
from flytebuild.spec.layers import Listed

_LOCKED = r'^\[\[package\]\]\nname = "([^"\n]+)"\nversion = "([^"\n]+)"'
"""A package as uv and Poetry write it into their locks."""


def of_lock(text: str, file: Path, path: str) -> tuple[Listed, ...]:
    """The packages of a lock of uv's or Poetry's with their versions; `path` is the file's in the tree."""
    found, line, seen = [], 1, 0
    for match in re.finditer(_LOCKED, text.replace("\r\n", "\n"), re.MULTILINE):
        line += match.string.count("\n", seen, match.end())
        seen = match.end()
        found.append(listing(f"{match[1]}=={match[2]}", file, line, path))
    return tuple(found)


def of_manifest(texts: Iterable[str], text: str, file: Path) -> tuple[Listed, ...]:
    """The requirements of a `pyproject.toml` whose text is given, at the first lines that have them."""
    lines = text.splitlines()
    places = {item: next((n for n, line in enumerate(lines, 1) if item in line), 0) for item in texts}
    return tuple(listing(item, file, line, file.name) for item, line in places.items())


def listing(text: str, file: Path, line: int, path: str) -> Listed:
    """One package in a line of a file, where 0 is none; `path` is the file's in the tree."""
    return Listed(text, path, relative(str(file)) + (f":{line}" if line else ""))
