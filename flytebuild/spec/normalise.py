"""What may be rewritten without changing what an image is, and nothing else.

The order of requirements is significant (the first mention decides what a resolver prefers) and is kept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from flytebuild.spec.requirement import normal_name, parse

_ARCHIVE = re.compile(r"\.(?:whl|zip|tar|tgz|tbz|txz|tlz|tar\.(?:gz|bz2|xz|lz|lzma|zst))$")
_AFTER_PATH = re.compile(r"(?:\[[^]]*\])?\s*(?:;.*)?$")


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
    return normal_name(text)


def requirements(texts: Sequence[str]) -> tuple[str, ...]:
    """Requirements in their order, exact repeats dropped after the first.

    Where options are among them nothing is changed: what follows one may be its value.
    """
    if any(text.lstrip().startswith("-") for text in texts):
        return tuple(texts)
    return tuple(dict.fromkeys(requirement(text) for text in texts))


def _normal(text: str) -> str | None:
    """A requirement's normal form; None for what is none."""
    parsed = parse(text)
    # The file name of an archive would pass for a project's name.
    is_file = "." in text and "@" not in text and is_archive(_AFTER_PATH.sub("", text))
    return None if parsed is None or (is_file and not parsed.url) else str(parsed)
