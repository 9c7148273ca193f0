"""`flytebuild runs list`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.text import Text

SCHEMA = "flytebuild.runs/1"
_HEAD = ("RUN", "TASK", "PHASE", "STARTED (UTC)", "TOOK")
_STYLES = {"SUCCEEDED": "green", "FAILED": "red", "ABORTED": "red", "TIMED_OUT": "red"}


@click.command("list", short_help="Show the runs of this machine, the newest first.")
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="Show the newest N runs."
)
@click.option("--json", "as_json", is_flag=True, help=f"Print one JSON document (`{SCHEMA}`).")
def list_runs(limit: int, as_json: bool) -> None:
    """Show the runs of this machine, the newest first: task, phase, start, and how long it took.

    The control plane tells them; where none runs, they are as the last one has left them.

    \b
    Examples:
      flytebuild runs list
      flytebuild runs list --limit 1 --json | jq -r '.runs[].url'
    """
    from flytebuild import config
    from flytebuild.cli.console import err, note, out
    from flytebuild.runtime import client, listing

    settings = config.load(Path.cwd())
    plane = client.find(settings)
    document = listing.asked(plane) if plane else listing.kept(settings)
    every = document["runs"]
    shown = every[:limit]
    if as_json:
        click.echo(json.dumps({**document, "runs": shown}, indent=2, ensure_ascii=False))
        return
    for line in lines(shown, datetime.now(timezone.utc) if plane else None):
        out().print(line)
    if len(every) > limit:
        err().print(f"{limit} of {len(every)} runs; `--limit N` shows more")
    if not plane and any(not run["ended"] for run in shown):
        err().print(note("no control plane runs; what has not ended goes on with `flytebuild up`"))


def lines(runs: Sequence[Mapping[str, Any]], now: datetime | None) -> Iterator[Text]:
    """A line for each run; `now` is what counts for those that go on, None where none does."""
    from rich.text import Text

    if not runs:
        yield Text("Nothing has run yet; `flytebuild run FILE.py TASK` starts a run")
        return
    rows = [_HEAD, *(_row(run, now) for run in runs)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    styles = ["bold", *(_STYLES.get(run["phase"], "") for run in runs)]
    for row, style in zip(rows, styles, strict=True):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield Text("  ".join(cells).rstrip(), style)


def _row(run: Mapping[str, Any], now: datetime | None) -> tuple[str, ...]:
    started = datetime.fromisoformat(run["started"])
    ended = datetime.fromisoformat(run["ended"]) if run["ended"] else now
    took = _duration((ended - started).total_seconds()) if ended else ""
    phase = run["phase"].lower().replace("_", " ")
    return run["run"], run["task"], phase, f"{started:%Y-%m-%d %H:%M:%S}", took


def _duration(seconds: float) -> str:
    from flytebuild.amounts import duration

    return f"{seconds:.1f} s" if seconds < 60 else duration(seconds)
