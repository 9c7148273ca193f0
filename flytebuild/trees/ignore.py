"""Which paths of a folder are left out: Docker's `.dockerignore`, one matcher for hashing and for sending.

The last pattern that matches decides. A pattern matches what is below a folder that it matches, with the one twist
that BuildKit has: while paths are looked at from the root down, a `!` pattern takes effect on a folder only if that
folder is ignored at that point, and any other pattern only if it is not. Matching respects case.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from itertools import groupby
from operator import attrgetter

from msgspec import Struct

from flytebuild.errors import IgnoreFileError
from flytebuild.trees.pattern import Pattern, parse_line, to_regex


class Ignore(Struct, frozen=True, dict=True):
    """Patterns in their order, relative to whatever folder is scanned."""

    patterns: tuple[Pattern, ...] = ()

    @classmethod
    def none(cls) -> Ignore:
        """Leaves nothing out."""
        return cls()

    @classmethod
    def parse(cls, text: str, origin: str) -> Ignore:
        """The patterns of an ignore file's text. Raises IgnoreFileError with `origin` and the line."""
        patterns = []
        for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
            try:
                pattern = parse_line(line)
            except ValueError as error:
                raise IgnoreFileError(
                    f"{origin}:{number}: the pattern `{line.strip()}` is malformed: {error}",
                    hint="`\\` before a character takes it as it is; a line that starts with `#` is a comment",
                ) from error
            if pattern:
                patterns.append(pattern)
        return cls(tuple(patterns))

    def joined(self, other: Ignore) -> Ignore:
        """These patterns, then those of `other`, which therefore win."""
        return Ignore(self.patterns + other.patterns)

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def excludes(self, path: str) -> bool:
        """Whether a path, relative and with slashes, is left out."""
        return self._follow(path)[0]

    def may_reinclude_below(self, path: str) -> bool:
        """Whether anything below an excluded folder may be wanted all the same; False needs no look inside."""
        return self.may_reinclude(path, self._follow(path)[1])

    def decide(self, path: str, name: str, above: int) -> tuple[bool, int]:
        """Whether `path` is left out, given what was decided of its folder (0 for the root), and what to hand down.

        `name` is the last component of `path`.
        """
        is_excluded, decided = False, 0
        for run in self._runs:
            if above & run.bit or (run.negated == is_excluded and run.matches(path, name)):
                is_excluded = not run.negated
                decided |= run.bit
        return is_excluded, decided

    def may_reinclude(self, path: str, decided: int) -> bool:
        """`may_reinclude_below` for a folder of which `decided` is known."""
        components = path.split("/")
        for run in reversed(self._runs):
            if run.negated:
                if any(_may_match_below(parts, components) for parts in run.heads):
                    return True
            elif run.bit & decided:
                # It holds for all that is below, and no `!` before it can change that.
                return False
        return True

    @cached_property
    def _runs(self) -> tuple[_Run, ...]:
        grouped = groupby(self.patterns, key=attrgetter("negated"))
        return tuple(_run(tuple(patterns), negated, 1 << number) for number, (negated, patterns) in enumerate(grouped))

    def _follow(self, path: str) -> tuple[bool, int]:
        is_excluded, decided, end = False, 0, 0
        while end < len(path):
            start = end + 1 if end else 0
            end = path.find("/", start)
            end = len(path) if end < 0 else end
            is_excluded, decided = self.decide(path[:end], path[start:end], decided)
        return is_excluded, decided


class _Run(Struct, frozen=True):
    """Neighbouring patterns of one sense: a path needs to match any of them. `heads` is for `_may_match_below`."""

    negated: bool
    bit: int
    paths: frozenset[str]
    any_name: re.Pattern[str] | None
    any_path: re.Pattern[str] | None
    heads: tuple[tuple[re.Pattern[str] | None, ...], ...]

    def matches(self, path: str, name: str) -> bool:
        return bool(
            path in self.paths
            or (self.any_name and self.any_name.fullmatch(name))
            or (self.any_path and self.any_path.fullmatch(path))
        )


def _run(patterns: tuple[Pattern, ...], negated: bool, bit: int) -> _Run:
    paths, names, rest = set(), [], []
    for pattern in patterns:
        if pattern.is_literal:
            paths.add(pattern.text)
        elif pattern.any_name is not None:
            # Names are short, and no `.*/` has to be tried in front of them.
            names.append(to_regex(pattern.any_name))
        else:
            rest.append(to_regex(pattern.text))
    heads = tuple(_head(pattern) for pattern in patterns) if negated else ()
    return _Run(negated, bit, frozenset(paths), _any_of(names), _any_of(rest), heads)


def _any_of(sources: Iterable[str]) -> re.Pattern[str] | None:
    source = "|".join(sources)
    return re.compile(source, re.DOTALL) if source else None


def _head(pattern: Pattern) -> tuple[re.Pattern[str] | None, ...]:
    """A pattern's components; None for the first that may span several folders, after which nothing is known."""
    head: list[re.Pattern[str] | None] = []
    for component in pattern.text.split("/"):
        if "**" in component or re.search(r"[\[\]\\]", component):
            return (*head, None)
        head.append(re.compile(to_regex(component), re.DOTALL))
    return tuple(head)


def _may_match_below(head: tuple[re.Pattern[str] | None, ...], components: list[str]) -> bool:
    for part, component in zip(head, components, strict=False):
        if part is None:
            return True
        if not part.fullmatch(component):
            return False
    return len(head) > len(components)
