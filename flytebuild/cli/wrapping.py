"""Long lines on terminals: broken between words, and going on further in than they began."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

_FURTHER = 6
"""Columns that what goes on of a line is further in than the line."""

_WORD = re.compile(r"\s*\S+")


def fitted(text: Text, console: Console) -> Text:
    """A text as it is shown there: in a file or a pipe, where lines are looked for, each stays one."""
    return wrapped(text, console.width) if console.file.isatty() else text


def wrapped(text: Text, width: int) -> Text:
    """A text in lines of at most so many columns. A longer word stays whole, so that it can be copied."""
    lines = text.split("\n", allow_blank=True)
    return Text("\n").join(part for line in lines for part in _parts(line, width))


def _parts(line: Text, width: int) -> Iterator[Text]:
    indent = len(line.plain) - len(line.plain.lstrip()) + _FURTHER
    breaks, column = list[int](), 0
    for word in _WORD.finditer(line.plain):
        length = cell_len(word[0])
        if column and column + length > width:
            breaks.append(word.start())
            column = indent + cell_len(word[0].lstrip())
        else:
            column += length
    first, *rest = line.divide(breaks)
    yield first
    for part in rest:
        blank = len(part.plain) - len(part.plain.lstrip())
        yield Text(" " * indent).append_text(part[blank:])
