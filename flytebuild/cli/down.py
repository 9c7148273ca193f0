"""`flytebuild down`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Stop the local control plane.")
def down() -> None:
    """Stop the local control plane; the containers of unfinished runs are removed.

    Runs that have ended stay in the data folder, with their logs, inputs and outputs. Exits with 0 as well when there
    was none, and with 69 when it cannot be ended.
    """
    from flytebuild import config
    from flytebuild.cli.console import err
    from flytebuild.runtime import client
    from flytebuild.runtime.process import End

    words = {
        End.NOT_RUNNING: "No control plane is running",
        End.STOPPED: "The control plane is stopped",
        End.KILLED: "The control plane did not end when it was told to, and was killed; runs that it left go on when "
        "it is started again",
    }
    err().print(words[client.stop(config.load(Path.cwd()))])
