"""`flytebuild down`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

_NAMED = 5
SCHEMA = "flytebuild.down/1"


@click.command(short_help="Stop the local control plane.")
@click.option("--json", "as_json", is_flag=True, help=f"Print one JSON document (`{SCHEMA}`).")
def down(as_json: bool) -> None:
    """Stop the local control plane; runs that have not ended are aborted, and their containers removed.

    The containers that a killed one has left are removed as well. Runs stay in the data folder, with their logs, inputs
    and outputs. Exits with 0 as well when there was none, and with 69 when it cannot be ended.

    \b
    Examples:
      flytebuild down
      flytebuild down --json | jq -r .result
    """
    from flytebuild import config
    from flytebuild.cli.console import err
    from flytebuild.runtime import client, owner
    from flytebuild.runtime.process import End

    words = {
        End.NOT_RUNNING: "No control plane is running",
        End.STOPPED: "The control plane is stopped",
        End.KILLED: "The control plane did not end when it was told to, and was killed; runs that it left go on when "
        "it is started again, and end with another `flytebuild down`",
    }
    results = {End.NOT_RUNNING: "not running", End.STOPPED: "stopped", End.KILLED: "killed"}
    settings = config.load(Path.cwd())
    under_way = owner.under_way(settings)
    end = client.stop(settings)
    aborted = under_way if end is End.STOPPED else ()
    err().print(words[end] + _aborted(aborted))
    if as_json:
        click.echo(json.dumps({"schema": SCHEMA, "result": results[end], "aborted": list(aborted)}, indent=2))


def _aborted(runs: Sequence[str]) -> str:
    if not runs:
        return ""
    shown = ", ".join(f"`{name}`" for name in runs[:_NAMED]) + (" …" if len(runs) > _NAMED else "")
    return f", and {len(runs)} run{'s' * (len(runs) > 1)} aborted: {shown}"
