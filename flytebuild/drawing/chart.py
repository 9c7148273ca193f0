"""Bars over time, as SVG: what charts of runs and of builds have in common. Pure.

The parts of a bar differ in shape and pattern, and in colour as well. A page's policy may allow no style attributes, so
everything is attributes of SVG and classes: `bar` and the part's own name.
"""

from __future__ import annotations

import html
from collections.abc import Iterable

from msgspec import Struct

LABELS, WIDTH, ROW, BAR = 300, 1000, 26, 14
"""In units of the drawing: the width of the names, of all, a row's height and a bar's."""

_INDENT = 14
_LETTERS = 40
_NICE = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 43200, 86400)


class Bar(Struct, frozen=True):
    """A part of a row, from one second to another."""

    part: str
    begin: float
    end: float


class Row(Struct, frozen=True):
    """A name with its bars. `told` is what the pointer shows, `link` where a click leads, or nothing."""

    name: str
    told: str
    bars: tuple[Bar, ...]
    depth: int = 0
    link: str = ""


def chart(title: str, rows: Iterable[Row], seconds: float, legend: Iterable[tuple[str, str]], rest: str = "") -> str:
    """A figure of rows over so many seconds. `legend` has parts and their names, `rest` what is not drawn."""
    rows, seconds = tuple(rows), max(seconds, 0.001)
    height = ROW * (len(rows) + 1)
    drawn = "".join(_row(row, ROW * (number + 1), seconds) for number, row in enumerate(rows))
    keys = "".join(
        f"<span><svg class='key' viewBox='0 0 24 14' aria-hidden='true'>{_rect(part, 1, 1, 22, 12)}</svg>{name}</span>"
        for part, name in legend
    )
    more = f"<span>{html.escape(rest)}</span>" if rest else ""
    return (
        f"<figure class='timeline'><svg viewBox='0 0 {WIDTH} {height}' role='img' aria-label='{html.escape(title)}'>"
        "<defs><pattern id='hatch' width='6' height='6' patternUnits='userSpaceOnUse' patternTransform='rotate(45)'>"
        "<line class='hatching' x1='0' y1='0' x2='0' y2='6'></line></pattern></defs>"
        f"{_grid(seconds, height)}{drawn}</svg><figcaption>{keys}{more}</figcaption></figure>"
    )


def duration(seconds: float) -> str:
    """A time for people."""
    if seconds < 120:
        return f"{seconds:g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min" if not rest else f"{minutes} min {rest} s"
    hours = minutes / 60
    return f"{hours:.3g} h" if hours < 72 else f"{round(hours / 24)} d"


def _grid(seconds: float, height: int) -> str:
    step = next((nice for nice in _NICE if seconds / nice <= 7), seconds / 7)
    lines = []
    for number in range(int(seconds / step) + 1):
        x = _at(number * step, seconds)
        anchor = "end" if x > WIDTH - 30 else "middle" if number else "start"
        lines.append(f"<line class='grid' x1='{x:.1f}' x2='{x:.1f}' y1='{ROW - 6}' y2='{height}'></line>")
        lines.append(
            f"<text class='tick' x='{x:.1f}' y='{ROW - 12}' text-anchor='{anchor}'>{duration(number * step)}</text>"
        )
    return "".join(lines)


def _at(moment: float, seconds: float) -> float:
    return LABELS + min(max(moment / seconds, 0.0), 1.0) * (WIDTH - LABELS)


def _row(row: Row, top: int, seconds: float) -> str:
    letters = _LETTERS - 2 * row.depth
    shown = row.name if len(row.name) <= letters else row.name[: max(letters - 1, 1)] + "…"
    label = f"<text class='name' x='{min(row.depth, 12) * _INDENT}' y='{top + ROW / 2 + 4}'>{html.escape(shown)}</text>"
    if row.link:
        label = f"<a href='{html.escape(row.link)}'>{label}</a>"
    return f"<g><title>{html.escape(row.told)}</title>{label}{''.join(_bar(bar, top, seconds) for bar in row.bars)}</g>"


def _bar(bar: Bar, top: int, seconds: float) -> str:
    left, right = _at(bar.begin, seconds), _at(bar.end, seconds)
    return _rect(bar.part, left, top + (ROW - BAR) / 2, max(right - left, 1.5), BAR)


def _rect(part: str, x: float, y: float, width: float, height: float) -> str:
    place = f"x='{x:.1f}' y='{y:.1f}' width='{width:.1f}' height='{height:.1f}'"
    rect = f"<rect class='bar {part}' {place}></rect>"
    if part == "started":
        rect += f"<rect {place} fill='url(#hatch)'></rect>"
    if part == "failed":
        # A cross, for those who do not see the colour.
        a, b = x + width - 9, y + height / 2
        rect += f"<path class='cross' d='M{a:.1f} {b - 3:.1f}l6 6m0 -6l-6 6'></path>" if width > 12 else ""
    return rect
