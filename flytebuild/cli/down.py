"""`flytebuild down`."""

from __future__ import annotations

import json
from pathlib import Path

import click

SCHEMA = "flytebuild.down/1"


@click.command(short_help="Stop the local control plane.")
@click.option("--json", "as_json", is_flag=True, help=f"Print one JSON document (`{SCHEMA}`).")
def down(as_json: bool) -> None:
    """Stop the local control plane; the containers of unfinished runs are removed.

    Those that one has left which was killed are removed as well. Runs that have ended stay in the data folder, with
    their logs, inputs and outputs. Exits with 0 as well when there was none, and with 69 when it cannot be ended.

    \b
    Examples:
      flytebuild down
      flytebuild down --json | jq -r .result
    """
    from flytebuild import config
    from flytebuild.cli.console import err
    from flytebuild.runtime import client
    from flytebuild.runtime.process import End

    words = {
        End.NOT_RUNNING: "No control plane is running",
        End.STOPPED: "The control plane is stopped",
        End.KILLED: "The control plane did not end when it was told to, and was killed; runs that it left go on when "
        "it is started again, and end with another `flytebuild down`",
    }
    results = {End.NOT_RUNNING: "not running", End.STOPPED: "stopped", End.KILLED: "killed"}
    end = client.stop(config.load(Path.cwd()))
    err().print(words[end])
    if as_json:
        click.echo(json.dumps({"schema": SCHEMA, "result": results[end]}, indent=2))
