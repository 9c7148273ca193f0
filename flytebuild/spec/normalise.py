"""What may be rewritten without changing what an image is, and nothing else.

The order of requirements is significant (the first mention decides what a resolver prefers) and is kept.
"""

from __future__ import annotations

from collections.abc import Iterable

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name


def requirement(text: str) -> str:
    """One requirement in normal form: PEP 503 name, sorted extras and specifiers. Anything else stays as it is."""
    try:
        parsed = Requirement(text)
    except InvalidRequirement:
        return text
    extras = f"[{','.join(sorted({canonicalize_name(extra) for extra in parsed.extras}))}]" if parsed.extras else ""
    target = f" @ {parsed.url}" if parsed.url else str(parsed.specifier)
    marker = f" ; {parsed.marker}" if parsed.marker else ""
    return f"{canonicalize_name(parsed.name)}{extras}{target}{marker}"


def is_requirement(text: str) -> bool:
    """Whether a text is a requirement by the packaging standards (PEP 508)."""
    try:
        Requirement(text)
    except InvalidRequirement:
        return False
    return True


def name(text: str) -> str:
    """A project's name in normal form (PEP 503)."""
    return str(canonicalize_name(text))


def requirements(texts: Iterable[str]) -> tuple[str, ...]:
    """Requirements in their order, exact repeats dropped after the first."""
    return tuple(dict.fromkeys(requirement(text) for text in texts))
