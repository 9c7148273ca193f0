"""`flytebuild status`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from flytebuild.config import Config
    from flytebuild.runtime.client import ControlPlane

SCHEMA = "flytebuild.status/1"
NOT_RUNNING = 1


@click.command(short_help="Show whether the local control plane runs.")
@click.option("--json", "as_json", is_flag=True, help=f"Print one JSON document (`{SCHEMA}`).")
def status(as_json: bool) -> int:
    """Show whether the local control plane runs, and where. Exits with 1 when it does not.

    \b
    Examples:
      flytebuild status
      flytebuild status --json | jq -r .endpoint
    """
    from flytebuild import config
    from flytebuild.cli.console import out
    from flytebuild.runtime import client, home

    settings = config.load(Path.cwd())
    plane = client.find(settings)
    if as_json:
        click.echo(document(settings, plane))
    elif plane:
        out().print(f"The control plane runs: {plane.endpoint} (process {plane.pid}, data in `{plane.home}`)")
    elif holder := home.holder(settings.home):
        out().print(f"The control plane (process {holder.pid}) does not answer; `flytebuild down` ends it")
    else:
        out().print("No control plane is running; `flytebuild up` starts it")
    return 0 if plane else NOT_RUNNING


def document(settings: Config, plane: ControlPlane | None) -> str:
    """Where the control plane is, as JSON (`flytebuild.status/1`)."""
    found = {
        "schema": SCHEMA,
        "running": plane is not None,
        "endpoint": plane.endpoint if plane else None,
        "pid": plane.pid if plane else None,
        "home": str(settings.home),
    }
    return json.dumps(found, indent=2, ensure_ascii=False)
