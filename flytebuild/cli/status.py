"""`flytebuild status`."""

from __future__ import annotations

import json
from pathlib import Path

import click

NOT_RUNNING = 1


@click.command(short_help="Show whether the local control plane runs.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document (`flytebuild.status/1`).")
def status(as_json: bool) -> int:
    """Show whether the local control plane runs, and where. Exits with 1 when it does not."""
    from flytebuild import config
    from flytebuild.cli.console import out
    from flytebuild.runtime import client, home

    settings = config.load(Path.cwd())
    plane = client.find(settings)
    if as_json:
        document = {
            "schema": "flytebuild.status/1",
            "running": plane is not None,
            "endpoint": plane.endpoint if plane else None,
            "pid": plane.pid if plane else None,
            "home": str(settings.home),
        }
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    elif plane:
        out().print(f"The control plane runs: {plane.endpoint} (process {plane.pid}, data in `{plane.home}`)")
    elif holder := home.holder(settings.home):
        out().print(f"The control plane (process {holder.pid}) does not answer; `flytebuild down` ends it")
    else:
        out().print("No control plane is running; `flytebuild up` starts it")
    return 0 if plane else NOT_RUNNING
