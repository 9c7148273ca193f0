"""`$NAME` in environment values and paths, the way a Dockerfile's `ENV` and `WORKDIR` expand it.

https://docs.docker.com/reference/dockerfile/#environment-replacement
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(
    r"\\(?P<escaped>\$)"
    r"|\$(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|\$\{(?P<braced>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<operator>:?[-+])(?P<word>[^{}]*))?\}"
    r"|(?P<other>\$\{[^}]*\}?)"
)


class ExpansionError(ValueError):
    """Raised for a `${…}` of a form that has no meaning here; the text says which."""


def expand(text: str, values: Mapping[str, str]) -> str:
    """`text` with its references replaced: `$NAME`, `${NAME}`, `${NAME:-word}`, `${NAME:+word}`; `\\$` is a dollar.

    A name without a value is empty. Without the colon, `-` and `+` ask whether the name is set at all. A dollar that
    starts no reference stays. Raises ExpansionError for any other `${…}`.
    """

    def replacement(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        if match["other"]:
            raise ExpansionError(match["other"])
        name = match["name"] or match["braced"]
        operator, word = match["operator"], match["word"] or ""
        if operator is None:
            return values.get(name, "")
        is_set = bool(values.get(name)) if operator.startswith(":") else name in values
        if operator.endswith("-"):
            return values[name] if is_set else expand(word, values)
        return expand(word, values) if is_set else ""

    return _REFERENCE.sub(replacement, text)


def refers(text: str) -> bool:
    """Whether expanding `text` may change it."""
    return _REFERENCE.search(text) is not None
