"""`flytebuild down`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Stop the local control plane.")
def down() -> None:
    """Stop the local control plane; the containers of unfinished runs are removed.

    Logs, inputs and outputs stay in the data folder. Runs are forgotten.
    """
    from flytebuild import config
    from flytebuild.cli.console import err
    from flytebuild.runtime import client

    stopped = client.stop(config.load(Path.cwd()))
    err().print("The control plane is stopped" if stopped else "No control plane is running")
