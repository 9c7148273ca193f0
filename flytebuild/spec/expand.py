"""`$NAME` in environment values and paths, the way a Dockerfile's `ENV` and `WORKDIR` expand it.

https://docs.docker.com/reference/dockerfile/#environment-replacement

Quotes mean nothing here: a value is taken as it is in Python. Where a Dockerfile would drop characters without a word
(`$1`, `$$`), they stay, or the value is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = "[A-Za-z_][A-Za-z0-9_]*"
_SPECIAL = (
    r"(?P<pairs>(?:\\\\)+)(?=\\?\$)"
    r"|\\(?P<escaped>[$}])"
    rf"|\$(?P<name>{_NAME})"
    rf"|\$\{{(?P<braced>{_NAME})(?P<operator>:?[-+]|(?=\}}))"
    r"|(?P<other>\$\{[^}]*\}?|\$\$(?=[A-Za-z_{]))"
    r"|(?P<end>\})"
)


class ExpansionError(ValueError):
    """Raised for a `${…}` of a form that has no meaning here; the text says which."""


def expand(text: str, values: Mapping[str, str]) -> str:
    """`text` with its references replaced: `$NAME`, `${NAME}`, `${NAME:-word}`, `${NAME:+word}`; `\\$` is a dollar.

    A name without a value is empty. Without the colon, `-` and `+` ask whether the name is set at all. A word may hold
    references itself, and `\\}` for a brace. A dollar that starts no reference stays, and so does a backslash that
    escapes no dollar. Raises ExpansionError for any other `${…}`, and for `$$NAME`, which is read in several ways.
    """
    if "$" not in text:
        return text
    expanded, _ = _expand(text, 0, values, None)
    return expanded


def _expand(text: str, position: int, values: Mapping[str, str], opened: int | None) -> tuple[str, int]:
    """The expansion from a position on, and where it ends: with the text, or after the brace that closes a word.

    `opened` is where the reference with that word starts.
    """
    parts: list[str] = []
    is_word = opened is not None
    special = re.compile(_SPECIAL)
    while match := special.search(text, position):
        parts.append(text[position : match.start()])
        position = match.end()
        if match["end"] or match["escaped"] == "}":
            if is_word and match["end"]:
                return "".join(parts), position
            parts.append("}" if is_word else match[0])
        elif match["other"]:
            raise ExpansionError(match["other"])
        elif match["pairs"]:
            parts.append(match["pairs"][::2])
        elif match["escaped"]:
            parts.append("$")
        elif match["operator"]:
            word, position = _expand(text, position, values, match.start())
            parts.append(_chosen(match["braced"], match["operator"], word, values))
        elif match["braced"]:
            position += len("}")
            parts.append(values.get(match["braced"], ""))
        else:
            parts.append(values.get(match["name"], ""))
    if is_word:
        raise ExpansionError(text[opened:])
    return "".join(parts) + text[position:], len(text)


def _chosen(name: str, operator: str, word: str, values: Mapping[str, str]) -> str:
    is_set = bool(values.get(name)) if operator.startswith(":") else name in values
    if operator.endswith("-"):
        return values[name] if is_set else word
    return word if is_set else ""
