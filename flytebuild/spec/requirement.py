"""Requirements of Python packages (PEP 508), read in one place.

Most are plain, `numpy` or `numpy>=2,<3`. These are read here: the full parser takes fifty times as long, and its import
15 ms of every start.
"""

from __future__ import annotations

import re
from functools import lru_cache

from msgspec import Struct

_PLAIN = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)"
    r"(?:(?P<one>==|!=|<=|>=|<|>)(?P<first>[0-9]+(?:\.[0-9]+)*)"
    r"(?:,(?P<other>(?!(?P=one)[0-9])(?:==|!=|<=|>=|<|>))(?P<second>[0-9]+(?:\.[0-9]+)*))?)?"
)
_BETWEEN_WORDS = re.compile(r"[-_.]+")


class Requirement(Struct, frozen=True):
    """One requirement: `specifiers` are pairs of an operator and a version, `extras` names in normal form, both sorted.

    `written` is the name as its author spells it; `url` and `marker` are empty where there is none.
    """

    written: str
    specifiers: tuple[tuple[str, str], ...] = ()
    extras: tuple[str, ...] = ()
    url: str = ""
    marker: str = ""

    @property
    def name(self) -> str:
        """The name in normal form."""
        return normal_name(self.written)

    def allows(self, version: str) -> bool:
        """Whether a version is one that it asks for, pre-releases among them."""
        from packaging.specifiers import SpecifierSet

        return SpecifierSet(",".join(map("".join, self.specifiers))).contains(version, prereleases=True)

    def __str__(self) -> str:
        """The normal form: one text for all that mean the same."""
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        target = f" @ {self.url}" if self.url else ",".join(map("".join, self.specifiers))
        return f"{self.name}{extras}{target}" + (f" ; {self.marker}" if self.marker else "")


def normal_name(text: str) -> str:
    """The name of a project in normal form (PEP 503)."""
    return _BETWEEN_WORDS.sub("-", text).lower()


@lru_cache(maxsize=4096)
def parse(text: str) -> Requirement | None:
    """Read a requirement; None for what is none."""
    plain = _PLAIN.fullmatch(text)
    if plain is None:
        return _parse(text)
    pairs = ((plain["one"], plain["first"]), (plain["other"], plain["second"]))
    return Requirement(plain["name"], tuple(sorted((pair for pair in pairs if pair[0]), key="".join)))


def _parse(text: str) -> Requirement | None:
    from packaging.requirements import InvalidRequirement
    from packaging.requirements import Requirement as Parsed
    from packaging.utils import InvalidName, canonicalize_name

    try:
        parsed = Parsed(text)
        canonicalize_name(parsed.name, validate=True)
    except (InvalidRequirement, InvalidName):
        return None
    specifiers = sorted({(item.operator, item.version) for item in parsed.specifier}, key="".join)
    extras = sorted({normal_name(extra) for extra in parsed.extras})
    marker = str(parsed.marker) if parsed.marker else ""
    return Requirement(parsed.name, tuple(specifiers), tuple(extras), parsed.url or "", marker)
