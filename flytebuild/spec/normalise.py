"""What may be rewritten without changing what an image is, and nothing else.

The order of requirements is significant (the first mention decides what a resolver prefers) and is kept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidName, canonicalize_name

_ARCHIVE = re.compile(r"\.(?:whl|zip|tar|tgz|tbz|txz|tlz|tar\.(?:gz|bz2|xz|lz|lzma|zst))$")
_AFTER_PATH = re.compile(r"(?:\[[^]]*\])?\s*(?:;.*)?$")

_PLAIN = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)"
    r"(?:(?P<one>(?P<operator>==|!=|<=|>=|<|>)[0-9]+(?:\.[0-9]+)*)"
    r"(?:,(?P<other>(?!(?P=operator)[0-9])(?:==|!=|<=|>=|<|>)[0-9]+(?:\.[0-9]+)*))?)?"
)


def requirement(text: str) -> str:
    """One requirement in normal form: PEP 503 name, sorted extras and specifiers. Anything else stays as it is."""
    return _normal(text) or text


def is_requirement(text: str) -> bool:
    """Whether a text is a requirement by the packaging standards (PEP 508), and not the name of an archive."""
    return _normal(text) is not None


def is_archive(path: str) -> bool:
    """Whether a path is that of a wheel or a source archive, by its name."""
    return _ARCHIVE.search(path) is not None


def name(text: str) -> str:
    """A project's name in normal form (PEP 503)."""
    return str(canonicalize_name(text))


def requirements(texts: Sequence[str]) -> tuple[str, ...]:
    """Requirements in their order, exact repeats dropped after the first.

    Where options are among them nothing is changed: what follows one may be its value.
    """
    if any(text.lstrip().startswith("-") for text in texts):
        return tuple(texts)
    return tuple(dict.fromkeys(requirement(text) for text in texts))


@lru_cache(maxsize=4096)
def _normal(text: str) -> str | None:
    """A requirement's normal form; None for what is none."""
    # The file name of an archive would pass for a project's name.
    is_file = "." in text and "@" not in text and is_archive(_AFTER_PATH.sub("", text))
    plain = _PLAIN.fullmatch(text)
    if plain and not is_file:
        # Most are of this form, and the full parser takes fifty times as long.
        return name(plain["name"]) + ",".join(sorted(filter(None, (plain["one"], plain["other"]))))
    try:
        parsed = Requirement(text)
        canonicalize_name(parsed.name, validate=True)
    except (InvalidRequirement, InvalidName):
        return None
    if is_file and parsed.url is None:
        return None
    extras = f"[{','.join(sorted({name(extra) for extra in parsed.extras}))}]" if parsed.extras else ""
    target = f" @ {parsed.url}" if parsed.url else str(parsed.specifier)
    marker = f" ; {parsed.marker}" if parsed.marker else ""
    return f"{name(parsed.name)}{extras}{target}{marker}"
