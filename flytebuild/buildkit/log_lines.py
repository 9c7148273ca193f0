"""Lines that steps write, as text: what they do to a terminal is for the one that they think they have. Pure."""

from __future__ import annotations

import re

_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # a control sequence: colours, movements
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # a string: a title, a link
    r"|\x1b[ -/]*[0-~]"  # any other sequence, or the beginning of one that has no end
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"  # a character that is none
)
"""ECMA-48, sections 5.2 to 5.6; a string may end with a bell as well, as xterm has it."""


def readable(line: str) -> str:
    """A line as it looks in the end: without control characters, and the last of what was written over one another."""
    return _CONTROL.sub("", line).rstrip("\r").rpartition("\r")[2]
