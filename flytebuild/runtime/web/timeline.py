"""A run as bars over time: which action waited, started and ran when. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from flytebuild.drawing.chart import Bar, Row, chart, duration
from flytebuild.runtime.model import Action, Attempt, Kind, Phase

ROWS = 200
"""Actions that are drawn; the page's tree has all of them."""

_ENDS = {Phase.FAILED: "failed", Phase.TIMED_OUT: "failed", Phase.ABORTED: "aborted"}
"""What is drawn of the time that an attempt ran where it did not end well."""

_WAITS = (Phase.QUEUED, Phase.WAITING_FOR_RESOURCES)
_LEGEND = (
    ("waited", "waited"),
    ("pulled", "pulled its image"),
    ("started", "started"),
    ("imported", "imported, until its first request"),
    ("ran", "ran"),
    ("failed", "failed"),
    ("aborted", "ran until it was aborted"),
)


def draw(actions: Sequence[Action], until: datetime) -> str:
    """The drawing; `until` is now while the run is under way. Empty where there is nothing to compare."""
    rows = list(_in_order(actions))[:ROWS]
    if len(rows) < 2:
        return ""
    begin = min(action.created for action, _ in rows)
    end = max([until, *(action.ended for action, _ in rows if action.ended)])
    drawn = (_row(action, depth, begin, until) for action, depth in rows)
    more = len(actions) - len(rows)
    rest = f"and {more} more actions, below" if more > 0 else ""
    return chart("The actions over time", drawn, (end - begin).total_seconds(), _LEGEND, rest)


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


def _row(action: Action, depth: int, begin: datetime, until: datetime) -> Row:
    name = action.task_name.rpartition(".")[2] or action.key.name
    took = ((action.ended or until) - action.created).total_seconds()
    phase = action.phase.name.lower().replace("_", " ")
    told = f"{action.task_name} ({action.key.name}): {phase}, {duration(round(took, 1))}"
    if action.kind is Kind.TASK:
        bars = tuple(bar for attempt in action.attempts for bar in _bars(attempt, begin, until))
    else:
        part = "trace" if action.kind is Kind.TRACE else "waited"
        bars = (_bar(part, action.created, action.ended or until, begin),)
    return Row(name, told, bars, depth, f"#{action.key.name}")


def _bars(attempt: Attempt, begin: datetime, until: datetime) -> Iterator[Bar]:
    steps = attempt.transitions
    ends = [*(step.at for step in steps[1:]), until]
    for step, end in zip(steps, ends, strict=True):
        if step.phase is Phase.RUNNING:
            # Python and Flyte's SDK are imported before anything is asked for.
            heard = min(max(attempt.heard or step.at, step.at), end)
            if attempt.heard:
                yield _bar("imported", step.at, heard, begin)
            yield _bar(_ENDS.get(attempt.phase, "ran"), heard, end, begin)
        elif step.phase is Phase.INITIALIZING:
            yield from _start(attempt, step.at, end, begin)
        elif step.phase in _WAITS:
            yield _bar("waited", step.at, end, begin)


def _start(attempt: Attempt, since: datetime, end: datetime, begin: datetime) -> Iterator[Bar]:
    """What came before the container ran: the pull of its image, the wait for its turn, its start."""
    if attempt.pulled or attempt.waiting_for:
        pulled = attempt.pulled or end
        yield _bar("pulled", since, pulled, begin)
        since = pulled
    # Attempts that began when turns were not noted yet have none.
    begun = attempt.begun or (since if attempt.started else end)
    if begun > since:
        yield _bar("waited", since, begun, begin)
    if end > begun:
        yield _bar("started", begun, end, begin)


def _bar(part: str, since: datetime, end: datetime, begin: datetime) -> Bar:
    return Bar(part, (since - begin).total_seconds(), (end - begin).total_seconds())
