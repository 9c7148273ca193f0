"""`flytebuild run`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flytebuild.cli import options
from flytebuild.errors import UsageError

if TYPE_CHECKING:
    from flytebuild.authoring.environments import Definitions
    from flytebuild.authoring.run import Program
    from flytebuild.config import Config
    from flytebuild.runtime.client import ControlPlane

STARTED = "flytebuild.started/1"
_HELP = ("-h", "--help")


def _valid_name(_context: click.Context, _option: click.Parameter, name: str | None) -> str | None:
    from flytebuild.runtime.names import check_name
    from flytebuild.runtime.storage import ObjectNameError

    try:
        return name if name is None else check_name(name)
    except ObjectNameError as error:
        raise click.BadParameter(str(error)) from error


@click.command(
    short_help="Run a task here, each environment in its own image.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("--name", callback=_valid_name, help="The run's name; the control plane makes one up without it.")
@click.option("--detach", "-d", is_flag=True, help="Start the run and return; its page shows how it goes.")
@click.option("--json", "as_json", is_flag=True, help="Print the ended run as one JSON document (`flytebuild.run/1`).")
@click.option("--warm", is_flag=True, help="Let tasks share containers that have started already, to save their start.")
@click.option(
    "--refresh", is_flag=True, help="Ask again which images are there (`fresh_for_runs` in the configuration)."
)
@options.settings(without=("platforms",))
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("task", required=False)
@click.argument("inputs", nargs=-1, type=click.UNPROCESSED, metavar="[--INPUT VALUE]...")
@click.pass_context
def run(
    context: click.Context,
    name: str | None,
    detach: bool,
    as_json: bool,
    warm: bool,
    refresh: bool,
    file: Path,
    task: str | None,
    inputs: tuple[str, ...],
    flags: Mapping[str, Any],
) -> None:
    """Run TASK of FILE on this machine, each environment's tasks in their own image.

    Builds the images that are missing first, and starts the local control plane if it does not run.

    \b
    Examples:
      flytebuild run main.py main --sequence AAGGTTCCAA
      flytebuild run main.py --help         the file's tasks
      flytebuild run main.py main --help    the task's inputs
    """
    from flytebuild import config
    from flytebuild.authoring.loader import load
    from flytebuild.authoring.run import Program
    from flytebuild.cli.console import notice
    from flytebuild.cli.output import refuse_full

    refuse_full()
    _refuse_what_is_no_file(file)
    settings = config.load(Path.cwd(), fresh_for_runs=0 if refresh else None, **flags)
    stand_in = not settings.strict_imports
    _refuse_own_option(context, file, "TASK", task)
    if task is None or task in _HELP:
        tasks = _tasks(load([file], notice, stand_in=stand_in))
        if task is None:
            raise UsageError(
                f"Which task of `{file}` is to run?",
                hint="its tasks: " + (", ".join(f"`{item}`" for item in tasks) or "none"),
            )
        click.echo(_task_list(file, tasks))
        return
    program = Program.load(file, task, notice, stand_in=stand_in)
    connection = _Connection(settings, program.root)

    def act(values: Mapping[str, Any]) -> None:
        _run(settings, program, connection.open(), values, name, warm=warm, detach=detach, as_json=as_json)

    try:
        program.parse(inputs, f"flytebuild run {file} {task}", connection.open, act)
    except click.NoSuchOption as error:
        _refuse_own_option(context, file, task, error.option_name)
        raise


def _refuse_what_is_no_file(file: Path) -> None:
    """Say where the words belong that are given in the place of the file."""
    if file.is_file():
        return
    usage = "`flytebuild run FILE TASK --INPUT VALUE …`"
    if str(file).startswith("-"):
        raise UsageError(f"`{file}` is no option of `flytebuild run`", hint=f"a task's inputs follow it: {usage}")
    problem = "is a folder" if file.is_dir() else "does not exist"
    raise UsageError(f"`{file}` {problem}", hint=f"the file comes first, and then the task: {usage}")


def _refuse_own_option(context: click.Context, file: Path, task: str, given: str | None) -> None:
    """Say where an option of this command belongs that was given behind the file."""
    own = {flag: option for option in run.get_params(context) for flag in option.opts if flag not in _HELP}
    if given in own:
        option = own[given]
        is_flag = isinstance(option, click.Option) and option.is_flag
        value = "" if is_flag else f" {option.metavar or option.type.name.upper()}"
        raise UsageError(
            f"`{given}` is an option of `flytebuild run` and goes before the file",
            hint=f"`flytebuild run {given}{value} {file} {task} …`; what follows the task are its inputs",
        )


def _tasks(definitions: Definitions) -> dict[str, tuple[str, ...]]:
    """The inputs of every task, by the shortest name that means it alone."""
    found = [task for env in definitions.environments.values() for task in getattr(env, "tasks", {}).values()]
    # A container of the user's has a name without its environment's.
    short = [task.name.partition(".")[2] or task.name for task in found]
    return {
        name if short.count(name) == 1 else task.name: tuple(task.native_interface.inputs)
        for name, task in zip(short, found, strict=True)
    }


def _task_list(file: Path, tasks: Mapping[str, tuple[str, ...]]) -> str:
    width = max(map(len, tasks), default=0)
    lines = [
        f"  {task:<{width}}  {' '.join(f'--{item}' for item in inputs)}".rstrip() for task, inputs in tasks.items()
    ]
    return "\n".join(
        (f"Usage: flytebuild run [OPTIONS] {file} TASK [--INPUT VALUE]...", "", "Tasks:", *(lines or ["  none"]))
    )


@dataclass
class _Connection:
    """The control plane, started and connected to when it is needed first."""

    settings: Config
    root: Path
    plane: ControlPlane | None = None

    def open(self) -> ControlPlane:
        """The control plane; from now on the SDK of this process speaks to it."""
        import os

        from flytebuild.authoring import run as sdk
        from flytebuild.cli.console import err
        from flytebuild.runtime import client

        if self.plane is None:
            plane = client.ensure(self.settings, err().print)
            os.environ.update(client.flyte_environment(plane))
            sdk.initialise(plane.config_file, self.root)
            self.plane = plane
        return self.plane


def _run(
    settings: Config,
    program: Program,
    plane: ControlPlane,
    values: Mapping[str, Any],
    name: str | None,
    *,
    warm: bool,
    detach: bool,
    as_json: bool,
) -> None:
    """Build what is missing, start the run, follow it to its end."""
    import os

    from flytebuild.authoring import run as sdk
    from flytebuild.build.secrets import task_secrets
    from flytebuild.cli import foreseen
    from flytebuild.cli.follow import follow_run
    from flytebuild.cli.prepare import prepare
    from flytebuild.runtime import owner
    from flytebuild.runtime.names import new_run_name
    from flytebuild.runtime.reuse import WARM_LABEL

    secrets = task_secrets(program.definitions.secrets(), os.environ, settings.secrets)
    unknown = owner.hand_over(plane, secrets)
    foreseen.refuse(program.definitions, program.task.name, {name: secrets.missing[name] for name in unknown})
    asyncio.run(prepare(settings, program.definitions, [program.task.name], is_checked=True))
    # Named here, so that a run can be aborted that is asked for when Ctrl-C comes.
    started = sdk.start(program, values, name or new_run_name(), {WARM_LABEL: "true"} if warm else None)
    if detach:
        document = {"schema": STARTED, "run": started.name, "url": started.url}
        click.echo(json.dumps(document, indent=2) if as_json else started.url)
        return
    follow_run(plane, started, as_json=as_json)
