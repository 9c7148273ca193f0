"""One line of a `.dockerignore` as a value: how it is cleaned, when it is malformed, and as a regular expression.

The rules are those of Go's `filepath.Clean` and `filepath.Match`, as Docker applies them: `*` and `?` stop at a slash,
`**` does not, `[a-z]` and `[^a-z]` are sets, `\\` takes the next character as it is.
"""

from __future__ import annotations

import posixpath
import re

from msgspec import Struct

# Go's idea of white space; Python's `str.strip` takes four more characters.
_BLANKS = " \t\n\v\f\r\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_WILD = re.compile(r"[*?\[\]\\]")
_ANY_FOLDERS = "(?:.*/)?"


class Pattern(Struct, frozen=True):
    """A cleaned pattern; `negated` for one that was written with `!`, which `text` does not show."""

    text: str
    negated: bool

    @property
    def is_literal(self) -> bool:
        """Whether it can match one path only: its own text."""
        return not _WILD.search(self.text)

    @property
    def any_name(self) -> str | None:
        """For `**/name`, with no more than one component below: that component."""
        head, slash, name = self.text.partition("/")
        is_plain = slash and head == "**" and "/" not in name and "**" not in name
        # A set may hold the slash, and a backslash may stand before one.
        return name if is_plain and not re.search(r"[\[\]\\]", name) else None


def parse_line(line: str) -> Pattern | None:
    """The pattern on a line; None for a comment or a blank one. Raises ValueError with what is wrong."""
    if line.startswith("#"):
        return None
    text = line.strip(_BLANKS)
    if not text:
        return None
    negated = text.startswith("!")
    if negated:
        text = text[1:].strip(_BLANKS)
    if text:
        text = _clean(text)
        # Patterns are relative to the scanned folder, however they are written.
        text = text[1:] if len(text) > 1 and text.startswith("/") else text
    text = _clean(("!" if negated else "") + text).strip(_BLANKS)
    negated = text.startswith("!")
    text = text[negated:]
    if not text:
        raise ValueError("there is nothing after `!`")
    pattern = Pattern(text, negated)
    to_regex(text)
    return pattern


def to_regex(text: str) -> str:
    """The source of a regular expression for whole paths. Raises ValueError with what is wrong."""
    if text.startswith("**") and not _WILD.search(text[2:]):
        # Docker compares ends here: `**tail` takes any path that ends so, in the middle of a name as well.
        return _ANY_FOLDERS + re.escape(text[3:]) if text[2:3] == "/" else ".*" + re.escape(text[2:])
    parts: list[str] = []
    position = 0
    while position < len(text):
        character = text[position]
        position += 1
        if character == "*":
            if text[position : position + 1] != "*":
                parts.append("[^/]*")
                continue
            position += 2 if text[position + 1 : position + 2] == "/" else 1
            if position >= len(text):
                parts.append(".*")
            elif parts[-1:] != [_ANY_FOLDERS]:  # `**/**/` is no more than `**/`, and much slower to match
                parts.append(_ANY_FOLDERS)
        elif character == "?":
            parts.append("[^/]")
        elif character == "[":
            source, position = _set(text, position)
            parts.append(source)
        elif character == "\\":
            parts.append(re.escape(_character(text, position)))
            position += 1
        else:
            parts.append(re.escape(character))
    return "".join(parts)


def _clean(text: str) -> str:
    return re.sub("^//", "/", posixpath.normpath(text))


def _character(text: str, position: int) -> str:
    if position >= len(text):
        raise ValueError("nothing follows the last `\\`")
    return text[position]


def _set(text: str, position: int) -> tuple[str, int]:
    """The regular expression of a set whose `[` is before `position`, and where it ends."""
    source = "["
    if text[position : position + 1] == "^":
        source += "^"
        position += 1
    is_empty = True
    while True:
        if position >= len(text):
            raise ValueError("a `[` has no `]`")
        if text[position] == "]" and not is_empty:
            return source + "]", position + 1
        low, position = _member(text, position)
        high = low
        if text[position : position + 1] == "-":
            high, position = _member(text, position + 1)
        if high < low:
            raise ValueError(f"`{low}-{high}` is the wrong way round")
        source += f"{re.escape(low)}-{re.escape(high)}"
        is_empty = False


def _member(text: str, position: int) -> tuple[str, int]:
    """One end of a range in a set, and where it ends."""
    character = text[position : position + 1]
    if character in ("", "-", "]"):
        raise ValueError("a `[` has no `]`" if not character else f"`{character}` in a set needs a `\\` before it")
    if character == "\\":
        position += 1
        character = _character(text, position)
    return character, position + 1
