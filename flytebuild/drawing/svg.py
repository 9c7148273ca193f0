"""The environments of a plan and what they depend on, as a picture: those that depend on none at the right."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from flytebuild.drawing.forest import levels
from flytebuild.plan import Plan

_HEIGHT, _GAP, _BETWEEN, _MARGIN = 46, 14, 70, 2
_CHARACTER = 8.2
"""About the width of a letter, in the units of the picture: wide enough for every font."""


def environments_map(plan: Plan) -> str:
    """An SVG element: a column per level, a box per environment, a line for each `depends_on`."""
    found = levels(plan)
    columns: list[list[str]] = [[] for _ in range(max(found.values(), default=-1) + 1)]
    for name, level in found.items():
        columns[-1 - level].append(name)
    images = {image.reference: image for image in plan.images}
    labels = {item.name: (item.name, f"image {images[item.image].short}") for item in plan.environments}
    widths = [max(_width(label) for name in column for label in labels[name]) for column in columns]
    places: dict[str, tuple[float, float, float]] = {}
    left = float(_MARGIN)
    for column, width in zip(columns, widths, strict=True):
        for row, name in enumerate(column):
            places[name] = (left, _MARGIN + row * (_HEIGHT + _GAP), width)
        left += width + _BETWEEN
    width = left - _BETWEEN + _MARGIN if columns else 0.0
    height = 2 * _MARGIN + max((len(column) for column in columns), default=0) * (_HEIGHT + _GAP) - _GAP
    drawn = [*_lines(plan, places), *_boxes(labels, places)]
    return (
        f'<div class="map"><svg width="{width:g}" height="{max(height, 0):g}" role="img" '
        f'aria-label="environments and what they depend on">{"".join(drawn)}</svg></div>'
    )


def _lines(plan: Plan, places: dict[str, tuple[float, float, float]]) -> Iterator[str]:
    for item in plan.environments:
        for name in item.depends_on:
            if name in places:
                (x, y, width), (to_x, to_y, _) = places[item.name], places[name]
                start, end = (x + width, y + _HEIGHT / 2), (to_x, to_y + _HEIGHT / 2)
                bend = max((end[0] - start[0]) / 2, _BETWEEN / 2)
                yield (
                    f'<path d="M{start[0]:g} {start[1]:g} C{start[0] + bend:g} {start[1]:g} '
                    f'{end[0] - bend:g} {end[1]:g} {end[0]:g} {end[1]:g}"/>'
                )


def _boxes(labels: dict[str, tuple[str, str]], places: dict[str, tuple[float, float, float]]) -> Iterator[str]:
    for name, (x, y, width) in places.items():
        first, second = labels[name]
        yield (
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{_HEIGHT}" rx="8"/>'
            f'<text x="{x + 12:g}" y="{y + 20:g}">{escape(first)}</text>'
            f'<text class="small" x="{x + 12:g}" y="{y + 36:g}">{escape(second)}</text>'
        )


def _width(label: str) -> float:
    return 24 + len(label) * _CHARACTER
