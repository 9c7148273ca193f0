"""A run as bars over time, drawn as SVG: which action waited, started and ran when. Pure.

The parts of a bar differ in shape and pattern, and in colour as well. The page's policy allows no style attributes,
so everything is attributes of SVG and classes.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from flytebuild.runtime.model import Action, Attempt, Kind, Phase

ROWS = 200
"""Actions that are drawn; the page's tree has all of them."""

_LABELS, _WIDTH, _ROW, _BAR = 300, 1000, 26, 14
"""In units of the drawing: the width of the names, of all, a row's height and a bar's."""

_INDENT = 14
_LETTERS = 40
_NICE = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 43200, 86400)

_PARTS = {
    Phase.QUEUED: "waited",
    Phase.WAITING_FOR_RESOURCES: "waited",
    Phase.INITIALIZING: "started",
    Phase.RUNNING: "ran",
}
_LEGEND = (("waited", "waited"), ("started", "image and start"), ("ran", "ran"), ("failed", "failed"))


@dataclass(frozen=True, slots=True)
class _Scale:
    begin: datetime
    seconds: float

    def at(self, moment: datetime) -> float:
        part = (moment - self.begin).total_seconds() / self.seconds
        return _LABELS + min(max(part, 0.0), 1.0) * (_WIDTH - _LABELS)


def draw(actions: Sequence[Action], until: datetime) -> str:
    """The drawing; `until` is now while the run is under way. Empty where there is nothing to compare."""
    rows = list(_in_order(actions))[:ROWS]
    if len(rows) < 2:
        return ""
    begin = min(action.created for action, _ in rows)
    end = max([until, *(action.ended for action, _ in rows if action.ended)])
    scale = _Scale(begin, max((end - begin).total_seconds(), 0.001))
    height = _ROW * (len(rows) + 1)
    drawn = "".join(_row(action, depth, number, scale, until) for number, (action, depth) in enumerate(rows))
    legend = "".join(
        f"<span><svg class='key' viewBox='0 0 24 14' aria-hidden='true'>{_rect(part, 1, 1, 22, 12)}</svg>{name}</span>"
        for part, name in _LEGEND
    )
    more = len(actions) - len(rows)
    rest = f"<span>and {more} more actions, below</span>" if more > 0 else ""
    return (
        f"<figure class='timeline'><svg viewBox='0 0 {_WIDTH} {height}' role='img' aria-label='The actions over time'>"
        "<defs><pattern id='hatch' width='6' height='6' patternUnits='userSpaceOnUse' patternTransform='rotate(45)'>"
        "<line class='hatching' x1='0' y1='0' x2='0' y2='6'></line></pattern></defs>"
        f"{_grid(scale, height)}{drawn}</svg><figcaption>{legend}{rest}</figcaption></figure>"
    )


def _in_order(actions: Sequence[Action]) -> Iterator[tuple[Action, int]]:
    """Parents before their children, each with its depth."""
    children: dict[str | None, list[Action]] = {}
    for action in actions:
        children.setdefault(action.parent, []).append(action)
    pending = [(action, 0) for action in reversed(children.get(None, []))]
    while pending:
        action, depth = pending.pop()
        yield action, depth
        pending += [(child, depth + 1) for child in reversed(children.get(action.key.name, []))]


def _grid(scale: _Scale, height: int) -> str:
    step = next((nice for nice in _NICE if scale.seconds / nice <= 7), scale.seconds / 7)
    lines = []
    for number in range(int(scale.seconds / step) + 1):
        x = _LABELS + number * step / scale.seconds * (_WIDTH - _LABELS)
        anchor = "end" if x > _WIDTH - 30 else "middle" if number else "start"
        lines.append(f"<line class='grid' x1='{x:.1f}' x2='{x:.1f}' y1='{_ROW - 6}' y2='{height}'></line>")
        lines.append(
            f"<text class='tick' x='{x:.1f}' y='{_ROW - 12}' text-anchor='{anchor}'>{_time(number * step)}</text>"
        )
    return "".join(lines)


def _row(action: Action, depth: int, number: int, scale: _Scale, until: datetime) -> str:
    top = _ROW * (number + 1)
    name = action.task_name.rpartition(".")[2] or action.key.name
    letters = _LETTERS - 2 * depth
    shown = name if len(name) <= letters else name[: max(letters - 1, 1)] + "…"
    took = ((action.ended or until) - action.created).total_seconds()
    phase = action.phase.name.lower().replace("_", " ")
    told = f"{action.task_name} ({action.key.name}): {phase}, {_time(round(took, 1))}"
    label = f"<text class='name' x='{min(depth, 12) * _INDENT}' y='{top + _ROW / 2 + 4}'>{html.escape(shown)}</text>"
    bars = "".join(_bars(attempt, top, scale, until) for attempt in action.attempts)
    if action.kind is not Kind.TASK:
        part = "trace" if action.kind is Kind.TRACE else "waited"
        bars = _span(part, action.created, action.ended or until, top, scale)
    return f"<g><title>{html.escape(told)}</title><a href='#{html.escape(action.key.name)}'>{label}</a>{bars}</g>"


def _bars(attempt: Attempt, top: int, scale: _Scale, until: datetime) -> str:
    drawn = []
    steps = attempt.transitions
    ends = [*(step.at for step in steps[1:]), until]
    for step, end in zip(steps, ends, strict=True):
        if part := _PARTS.get(step.phase):
            is_bad = part == "ran" and attempt.phase in (Phase.FAILED, Phase.TIMED_OUT, Phase.ABORTED)
            drawn.append(_span("failed" if is_bad else part, step.at, end, top, scale))
    return "".join(drawn)


def _span(part: str, begin: datetime, end: datetime, top: int, scale: _Scale) -> str:
    left, right = scale.at(begin), scale.at(end)
    return _rect(part, left, top + (_ROW - _BAR) / 2, max(right - left, 1.5), _BAR)


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


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min" if not rest else f"{minutes} min {rest} s"
    hours = minutes / 60
    return f"{hours:.3g} h" if hours < 72 else f"{round(hours / 24)} d"
