"""Parts of compositions in words: names, values, and what happened to them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

NAMED = 3
"""So many things are named; how many others there are is counted."""

_DIGITS = 12
_TEXT = 60


def some(names: Sequence[str]) -> str:
    """Names, the first of many and how many others there are."""
    named = ", ".join(f"`{name}`" for name in names[:NAMED])
    return named + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The names whose values differ, sorted."""
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


def happened(before: Any, after: Any, name: str) -> str:
    """What became of a name's value from one mapping to another."""
    if name not in as_mapping(before):
        return "is new"
    return "changed" if name in as_mapping(after) else "is gone"


def as_mapping(value: Any) -> Mapping[str, Any]:
    """A value as a mapping; an empty one for what is none."""
    return value if isinstance(value, Mapping) else {}


def are_texts(value: Any) -> bool:
    """Whether a value is a list of texts, or nothing."""
    return value is None or (isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value))


def shown(value: Any) -> str:
    """A value in a few words."""
    if value is None:
        return "none"
    text = short(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= _TEXT else f"{text[: _TEXT - 1]}…"


def short(text: Any) -> str:
    """A digest by its first digits, and any other text as it is."""
    if text is None:
        return "none"
    kind, colon, digits = str(text).rpartition(":")
    is_digest = len(digits) == 64 and set(digits) <= set("0123456789abcdef")
    return f"{kind}{colon}{digits[:_DIGITS]}…" if is_digest else str(text)
