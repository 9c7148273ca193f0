"""Texts that users see, kept as files below `tests/snapshots`; `make snapshots` writes them anew.

A helper of our own: the files are for reading, one for each command, and hold what differs between machines and
releases by a name (`Mask`). Whoever changes a word sees in the diff of a commit what users will see.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent / "snapshots"

_DIGEST = re.compile(r"(?<![0-9a-zA-Z])(?:[0-9a-f]{64}|[0-9a-f]{32}|[0-9a-f]{12}|[0-9a-f]{8})(?![0-9a-zA-Z])")
_SHORTEST = 8
_MARKS = re.compile(r"^ *[~^]+\n", re.MULTILINE)
"""What tracebacks put below a line, in each release of Python in another way."""


@dataclass
class Mask:
    """Names for what is not the same everywhere: `known` texts, and digests, of which equal ones stay equal."""

    known: Mapping[str, str] = field(default_factory=dict)

    def over(self, text: str) -> str:
        """The text with names in it. A digest is called by its number, in whatever length it is written."""
        text = _MARKS.sub("", text)
        for value, name in self.known.items():
            text = text.replace(value, name)
        numbers: dict[str, int] = {}

        def name(match: re.Match[str]) -> str:
            number = numbers.setdefault(match[0][:_SHORTEST], len(numbers) + 1)
            return f"<{number}>"

        return _DIGEST.sub(name, text)


@dataclass(frozen=True)
class Snapshots:
    """The kept texts, which are compared with, or written when `is_written`."""

    is_written: bool

    def compare(self, name: str, text: str) -> None:
        """Fail unless the text is the one that is kept under this name."""
        file = FOLDER / name
        if self.is_written:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        kept = file.read_text(encoding="utf-8") if file.is_file() else ""
        assert text == kept, f"`{name}` is another text than the one that is kept; `make snapshots` keeps the new one"

    def are_exactly(self, folder: str, names: set[str]) -> None:
        """Fail where a folder has other files than these; those that nobody wants any more go when `is_written`."""
        there = {file.name: file for file in (FOLDER / folder).iterdir()}
        if self.is_written:
            for name in there.keys() - names:
                there.pop(name).unlink()
        assert set(there) == names
