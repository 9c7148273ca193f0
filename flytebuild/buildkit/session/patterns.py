"""The patterns with which BuildKit asks for a part of a tree (those of `.dockerignore`, moby `patternmatcher`).

They are anchored at the tree's root, `*` and `?` stop at `/`, `**` does not, what matches a folder matches all below
it, a leading `!` takes back, and the last pattern that matches decides.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct


class Patterns(Struct, frozen=True):
    """What is asked for: everything, or what `include` matches, in either case without what `exclude` matches."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()

    def select(self, paths: Iterable[str]) -> Iterator[str]:
        """The paths that are asked for, in their order. A folder above one that is may be missing."""
        included, excluded = _compile(self.include), _compile(self.exclude)
        for path in paths:
            if (not included or _matches(path, included)) and not _matches(path, excluded):
                yield path


def _matches(path: str, patterns: Sequence[tuple[bool, re.Pattern[str]]]) -> bool:
    if not patterns:
        return False
    parts = path.split("/")
    candidates = ["/".join(parts[:end]) for end in range(len(parts), 0, -1)]
    for positive, pattern in reversed(patterns):
        if any(pattern.fullmatch(candidate) for candidate in candidates):
            return positive
    return False


def _compile(patterns: Sequence[str]) -> list[tuple[bool, re.Pattern[str]]]:
    compiled = []
    for pattern in patterns:
        text = pattern.strip()
        positive = not text.startswith("!")
        text = posixpath.normpath(text.lstrip("!").strip()).lstrip("/") if text.lstrip("!") else ""
        if text and text != ".":
            compiled.append((positive, re.compile(_translate(text), re.DOTALL)))
    return compiled


def _translate(pattern: str) -> str:
    result, position = [], 0
    while position < len(pattern):
        character = pattern[position]
        if pattern.startswith("**/", position):
            result.append("(?:.*/)?")
            position += 3
        elif pattern.startswith("**", position):
            result.append(".*")
            position += 2
        elif character == "[" and (end := pattern.find("]", position + 2)) > 0:
            negated = pattern[position + 1] == "^"
            members = pattern[position + 1 + negated : end].replace("[", r"\[")
            result.append(f"[{'^' if negated else ''}{members}]")
            position = end + 1
        elif character == "\\" and position + 1 < len(pattern):
            result.append(re.escape(pattern[position + 1]))
            position += 2
        else:
            result.append({"*": "[^/]*", "?": "[^/]"}.get(character, re.escape(character)))
            position += 1
    return "".join(result)
