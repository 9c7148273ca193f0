"""The pages, rendered on the server. Every value from outside passes `_text`; the only script is ours."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources
from urllib.parse import quote

from flytebuild.plan import ImagePlan
from flytebuild.runtime.http import Response
from flytebuild.runtime.logs import Line
from flytebuild.runtime.model import Action, ActionKey, Attempt, Kind, Phase, Run, now
from flytebuild.runtime.pods import LEFT_OUT
from flytebuild.runtime.web import timeline
from flytebuild.runtime.web.documents import path
from flytebuild.runtime.web.values import Values


@dataclass(frozen=True, slots=True)
class View:
    """An action with what its part of the page shows.

    `log` is its last lines, and whether there are more; `has_report` tells whether its newest attempt wrote one.
    `image` is what its image is made of, where that is known.
    """

    action: Action
    inputs: Values
    outputs: Values
    log: tuple[list[Line], bool]
    has_report: bool = False
    image: ImagePlan | None = None


def respond(page: str, status: int = 200, style: str | None = None) -> Response:
    """A page as an answer, with a policy that allows nothing but its own style and script.

    `style` is the page's stylesheet where it is another one than that of all others.
    """
    policy = (
        "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        f"style-src '{_hash(_asset('page.css') if style is None else style)}'; script-src '{_hash(_asset('page.js'))}'"
    )
    headers = (("content-security-policy", policy), ("cache-control", "no-store"), ("referrer-policy", "no-referrer"))
    return Response(status, page.encode("utf-8", "replace"), "text/html; charset=utf-8", headers)


def runs_page(rows: Sequence[tuple[Run, Action]]) -> str:
    """All runs, the newest first."""
    if rows:
        body = "".join(
            f"<tr><td>{_badge(root.phase)}</td><td><a href='{_text(path(run))}'><code>{_text(run.name)}</code></a></td>"
            f"<td>{_text(root.task_name)}</td><td>{_when(run.started)}</td>"
            f"<td>{_duration(run.started, root.ended)}</td></tr>"
            for run, root in rows
        )
        head = "".join(f"<th scope='col'>{name}</th>" for name in ("State", "Run", "Task", "Started", "Took"))
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    else:
        table = "<p class='quiet'>Nothing has run yet. <code>flytebuild run FILE.py TASK</code> starts a run.</p>"
    is_live = any(not root.phase.is_terminal for _, root in rows)
    links = "<p class='crumbs'><a href='/builds'>Builds</a></p>"
    return _page("Runs", f"{links}<h1>Runs</h1>{table}", is_live=is_live, events="/api/events")


def still_page(title: str, body: str) -> str:
    """A page that does not change."""
    return _page(title, body, is_live=False)


def missing_page(sentence: str) -> str:
    """What there is instead of a page; `sentence` says what was not found."""
    told = _text(sentence[:1].upper() + sentence[1:])
    body = (
        f"<p class='crumbs'><a href='/'>Runs</a></p><h1>Not found</h1><p>{told}.</p>"
        "<p class='quiet'>Runs are remembered until <code>flytebuild runs prune</code> takes them away.</p>"
    )
    return _page("Not found", body, is_live=False)


def run_page(run: Run, root: Action, views: Sequence[View]) -> str:
    """A run: its state, its actions over time and as a tree."""
    children: dict[str | None, list[View]] = {}
    for view in views:
        children.setdefault(view.action.parent, []).append(view)
    facts = _facts(
        ("Started", _when(run.started)),
        ("Took", _duration(run.started, root.ended)),
        ("Project", f"{_text(run.project)} / {_text(run.domain)}"),
    )
    tree = _branch(None, children, run)
    drawing = timeline.draw([view.action for view in views], root.ended or now())
    body = (
        f"<p class='crumbs'><a href='/'>Runs</a></p><h1>{_badge(root.phase)} {_text(root.task_name)} "
        f"<code class='quiet'>{_text(run.name)}</code></h1>{facts}"
        f"<p><a href='{_text(path(run))}/environments'>Environments and their images</a></p>"
        f"{drawing}<ul class='tree'>{tree}</ul>"
    )
    events = "" if root.phase.is_terminal else f"/api/runs/{quote(run.name)}/events"
    return _page(f"{root.task_name} · {run.name}", body, is_live=not root.phase.is_terminal, events=events)


def _branch(parent: str | None, children: dict[str | None, list[View]], run: Run) -> str:
    """The actions below one, each with its own branch."""
    items = []
    for view in children.get(parent, ()):
        nested = _branch(view.action.key.name, children, run)
        items.append(f"<li>{_action(view, run)}{f'<ul>{nested}</ul>' if nested else ''}</li>")
    return "".join(items)


def _action(view: View, run: Run) -> str:
    action, last = view.action, view.action.last
    rows = [("Action", f"<code>{_text(action.key.name)}</code>")]
    if action.group:
        rows.append(("Group", _text(action.group)))
    if action.cached_from:
        rows.append(("Cached", f"the outputs are those of <code>{_text(action.cached_from)}</code>"))
    if action.condition is not None and not action.phase.is_terminal:
        rows.append(("Waits for an answer to", _text(action.condition.prompt or action.condition.name)))
    if action.task is not None and (left_out := action.task.task_template.config.get(LEFT_OUT)):
        rows.append(("Left out of its pod", _text(left_out)))
    if last:
        rows += _container_facts(last, len(action.attempts))
    detail = _failure(action)
    for title, values in (("Inputs", view.inputs), ("Outputs", view.outputs)):
        if values.problem:
            detail += f"<p class='quiet'>{title} are not shown: {_text(values.problem)}</p>"
        if values.items:
            # What the whole run returned is what the reader came for.
            is_open = title == "Outputs" and action.parent is None
            detail += _fold(f"{action.key.name}-{title}", title, f"<pre>{_values(values.items)}</pre>", is_open=is_open)
    if view.image and view.image.layers:
        detail += _layers(action.key, view.image)
    if view.has_report:
        address = f"/api/runs/{quote(run.name)}/actions/{quote(action.key.name)}/report"
        detail += f"<p><a href='{address}'>Report</a></p>"
    if last:
        detail += _log(view, run)
        detail += "".join(_earlier(attempt, action, run) for attempt in action.attempts[:-1])
    kind = "" if action.kind is Kind.TASK else f" <span class='quiet'>{action.kind.name.lower()}</span>"
    environment = f"<span class='environment'>{_text(action.environment)}</span>" if action.environment else ""
    return (
        f"<section class='action {action.phase.name.lower()}' id='{_text(action.key.name)}'><h2>{_badge(action.phase)} "
        f"{_text(action.task_name.rpartition('.')[2])}{kind} {environment}"
        f"<span class='took'>{_duration(action.created, action.ended)}</span></h2>{_facts(*rows)}{detail}</section>"
    )


def _container_facts(attempt: Attempt, count: int) -> list[tuple[str, str]]:
    image_id = attempt.image_id or ""
    short = image_id.removeprefix("sha256:")[:12]
    rows = [("Image", f"<code>{_text(attempt.image)}</code>")]
    if short:
        rows.append(("Image id", f"<code title='{_text(image_id)}'>{_text(short)}</code>"))
    if attempt.container:
        rows.append(("Container", f"<code title='{_text(attempt.container)}'>{_text(attempt.container[:12])}</code>"))
    if count > 1:
        rows.append(("Attempt", str(count)))
    if attempt.waiting_for:
        rows.append(("Waits for", _text(attempt.waiting_for)))
    if attempt.exit_code:
        rows.append(("Exit code", str(attempt.exit_code)))
    return rows


def _layers(key: ActionKey, image: ImagePlan) -> str:
    """What an image is made of, the base first."""
    title = f"Image <span class='quiet'>{_text(image.short)}, {len(image.layers)} layers</span>"
    items = "".join(
        f"<li><code title='{_text(layer.digest)}'>{_text(layer.digest[:8])}</code> {_text(layer.summary)}</li>"
        for layer in image.layers
    )
    return _fold(f"{key.name}-image", title, f"<ol class='layers'>{items}</ol>")


def _failure(action: Action) -> str:
    if action.failure:
        kind = "system" if action.failure.is_system else "user"
        title = f"{_text(action.failure.code)} <span class='quiet'>({kind} error)</span>"
        command = _text(shell_command(action.key))
        again = f"<p class='quiet'>A shell where it failed: <code>{command}</code></p>" if action.last else ""
        return f"<div class='failure'><strong>{title}</strong><pre>{_text(action.failure.message)}</pre>{again}</div>"
    if action.abort_reason:
        return f"<div class='failure'><strong>Aborted</strong><pre>{_text(action.abort_reason)}</pre></div>"
    return ""


def shell_command(key: ActionKey) -> str:
    """What opens a shell where an action has failed."""
    return f"flytebuild rerun --shell {key.run} {key.name}"


def _earlier(attempt: Attempt, action: Action, run: Run) -> str:
    """An attempt that another one followed: why it failed, and where its log is."""
    address = f"/api/runs/{quote(run.name)}/actions/{quote(action.key.name)}/logs?attempt={attempt.number}"
    why = f": {_text(attempt.failure.code)}: {_text(attempt.failure.message)}" if attempt.failure else ""
    told = f"Attempt {attempt.number} {attempt.phase.name.lower()}{why}"
    return f"<p class='quiet'>{told} · <a href='{address}'>its log</a></p>"


def _log(view: View, run: Run) -> str:
    lines, has_more = view.log
    address = f"/api/runs/{quote(run.name)}/actions/{quote(view.action.key.name)}/logs"
    link = f"<a href='{_text(address)}'>{'all lines' if has_more else 'as text'}</a>"
    if not lines:
        return "" if view.action.phase.is_terminal else "<p class='quiet'>No log yet</p>"
    text = "\n".join(_text(line.text) for line in lines)
    count = f"{len(lines)} line{'s' * (len(lines) != 1)}"
    title = f"Log <span class='quiet'>{'last ' if has_more else ''}{count}</span>"
    # Whoever looks at a failure reads the log next.
    body = f"<p class='quiet'>{link}</p><pre>{text}</pre>"
    return _fold(f"{view.action.key.name}-log", title, body, is_open=view.action.phase is Phase.FAILED)


def _fold(identifier: str, title: str, body: str, *, is_open: bool = False) -> str:
    state = " open" if is_open else ""
    return f"<details id='{_text(identifier)}'{state}><summary>{title}</summary>{body}</details>"


def _facts(*rows: tuple[str, str]) -> str:
    return f"<dl>{''.join(f'<div><dt>{name}</dt><dd>{value}</dd></div>' for name, value in rows)}</dl>"


def _values(values: dict[str, object]) -> str:
    return "\n".join(
        f"<b>{_text(name)}</b> = {_text(json.dumps(value, ensure_ascii=False, indent=2, default=repr))}"
        for name, value in values.items()
    )


def _badge(phase: Phase) -> str:
    return f"<span class='badge {phase.name.lower()}'>{phase.name.lower().replace('_', ' ')}</span>"


def _when(at: datetime) -> str:
    return f"<time datetime='{at.isoformat()}'>{at:%Y-%m-%d %H:%M:%S} UTC</time>"


def _duration(start: datetime, end: datetime | None) -> str:
    """How long it took; the page's script lets it go on where it has not ended."""
    seconds = ((end or now()) - start).total_seconds()
    if seconds < 60:
        told = f"{seconds:.1f} s"
    else:
        minutes, rest = divmod(int(seconds), 60)
        told = f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
    return told if end else f"<span data-seconds='{seconds:.1f}'>{told}</span>"


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)


def _page(title: str, body: str, *, is_live: bool, events: str = "") -> str:
    # Without scripts, a page that lives reloads as a whole.
    refresh = "<noscript><meta http-equiv='refresh' content='2'></noscript>" if is_live else ""
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{_text(title)} · flytebuild</title>{refresh}<style>{_asset('page.css')}</style></head>"
        f"<body><main data-events='{_text(events)}'>{body}</main>"
        f"<script>{_asset('page.js')}</script></body></html>"
    )


@cache
def _asset(name: str) -> str:
    return resources.files("flytebuild.runtime.web").joinpath(name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
