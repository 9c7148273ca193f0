"""`flytebuild run`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from flytebuild.authoring.run import Program
    from flytebuild.config import Config


@click.command(
    short_help="Run a task here, each environment in its own image.",
    context_settings={
        "ignore_unknown_options": True,
        "allow_interspersed_args": False,
        "help_option_names": ["--help"],
    },
)
@click.option("--name", help="The run's name; the control plane makes one up without it.")
@click.option("--detach", "-d", is_flag=True, help="Start the run and return; its page shows how it goes.")
@click.option("--json", "as_json", is_flag=True, help="Print the ended run as one JSON document (`flytebuild.run/1`).")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("task")
@click.argument("inputs", nargs=-1, type=click.UNPROCESSED, metavar="[--INPUT VALUE]...")
def run(name: str | None, detach: bool, as_json: bool, file: Path, task: str, inputs: tuple[str, ...]) -> None:
    """Run TASK of FILE on this machine, each environment's tasks in their own image.

    Builds the images that are missing first, and starts the local control plane if it does not run.

    \b
    Examples:
      flytebuild run main.py main --sequence AAGGTTCCAA
      flytebuild run main.py main --help    the task's inputs
    """
    from flytebuild import config
    from flytebuild.authoring.run import Program

    settings = config.load(Path.cwd())
    program = Program.load(file, task)

    def act(values: Mapping[str, Any]) -> None:
        _run(settings, program, values, name, detach=detach, as_json=as_json)

    program.parse(inputs, f"flytebuild run {file} {task}", act)


def _run(
    settings: Config, program: Program, values: Mapping[str, Any], name: str | None, *, detach: bool, as_json: bool
) -> None:
    """Build what is missing, start the run, follow it to its end."""
    import os

    from flytebuild.authoring import run as sdk
    from flytebuild.cli.console import err
    from flytebuild.cli.follow import follow_run
    from flytebuild.cli.prepare import prepare
    from flytebuild.runtime import client

    plane = client.ensure(settings, err().print)
    os.environ.update(client.flyte_environment(plane))
    asyncio.run(prepare(settings, program.definitions, [program.task.name]))
    sdk.initialise(plane.config_file, program.root)
    started = sdk.start(program, values, name)
    if detach:
        click.echo(json.dumps({"run": started.name, "url": started.url}) if as_json else started.url)
        return
    follow_run(plane, started, as_json=as_json)
