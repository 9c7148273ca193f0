"""Pages about builds: those of this machine that the user's state remembers, and each over time. Pure."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from flytebuild.drawing.chart import Bar, Row, chart, duration
from flytebuild.state import BuildRecord

_LEGEND = (("ran", "executed"), ("started", "from the cache"), ("failed", "failed"))
_ROWS = 300


def builds_list(records: Sequence[BuildRecord]) -> str:
    """All builds, the newest first, as the body of a page."""
    head = "".join(f"<th scope='col'>{name}</th>" for name in ("Started", "Took", "Images"))
    rows = "".join(
        f"<tr><td><a href='/builds/{_text(record.identifier)}'>{_when(record.started)}</a></td>"
        f"<td>{duration(round(document['seconds'], 1))}</td><td>{_text(_outcome(document))}</td></tr>"
        for record in records
        for document in (json.loads(record.document),)
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    nothing = "<p class='quiet'>Nothing was built on this machine yet.</p>"
    return f"<p class='crumbs'><a href='/'>Runs</a></p><h1>Builds</h1>{table if records else nothing}"


def build_body(record: BuildRecord) -> str:
    """One build over time, as the body of a page."""
    document = json.loads(record.document)
    rows = list(_rows(document))
    hidden = len(rows) - _ROWS + document["left_out"] if len(rows) > _ROWS else document["left_out"]
    rest = f"and {hidden} more steps" if hidden else ""
    drawing = chart("The build over time", rows[:_ROWS], document["seconds"], _LEGEND, rest)
    return (
        f"<p class='crumbs'><a href='/'>Runs</a> · <a href='/builds'>Builds</a></p><h1>Build</h1>"
        f"<p class='quiet'>{_when(record.started)}, {duration(round(document['seconds'], 1))}: "
        f"{_text(_outcome(document))}</p>{drawing}"
    )


def _rows(document: Mapping[str, Any]) -> Iterator[Row]:
    """Each image with its steps below it, and last the steps that belong to none, such as those of the cache."""
    end = document["seconds"]
    images = {image["reference"]: image for image in document["images"]}
    for reference, image in images.items():
        names = ", ".join(image["environments"])
        part = "failed" if image["error"] else "ran"
        told = f"{reference}: {image['error'] or duration(round((image['end'] or end) - image['begin'], 1))}"
        yield Row(names, told, (Bar(part, image["begin"], image["end"] or end),))
        yield from _steps(document, {reference}, 1)
    others = {step["image"] for step in document["steps"]} - images.keys()
    yield from _steps(document, others, 0)


def _steps(document: Mapping[str, Any], images: set[str], depth: int) -> Iterator[Row]:
    for step in document["steps"]:
        if step["image"] in images:
            part = "failed" if step["error"] else "started" if step["cached"] else "ran"
            took = "from the cache" if step["cached"] else duration(round(step["end"] - step["begin"], 2))
            told = f"{step['name']}: {step['error'] or took}"
            yield Row(step["name"], told, (Bar(part, step["begin"], step["end"]),), depth)


def _outcome(document: Mapping[str, Any]) -> str:
    count = len(document["images"])
    failed = sum(bool(image["error"]) for image in document["images"])
    return f"{count} image{'s' * (count != 1)}" + (f", {failed} not built" if failed else "")


def _when(seconds: float) -> str:
    at = datetime.fromtimestamp(seconds, timezone.utc)
    return f"<time datetime='{at.isoformat()}'>{at:%Y-%m-%d %H:%M:%S} UTC</time>"


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)
