"""Starting runs with the SDK: a task's inputs from the command line, and the run that it becomes."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flyte
import flyte.errors
import rich_click as click
from connectrpc.errors import ConnectError
from flyte.cli._run import RunArguments, RunTaskCommand
from flyte.remote import Run

from flytebuild.authoring.environments import Definitions
from flytebuild.authoring.loader import load, package_root
from flytebuild.errors import RunError


@dataclass(frozen=True)
class Program:
    """A file with its task: what `flytebuild run FILE TASK` names. `root` is where its imports start."""

    file: Path
    root: Path
    definitions: Definitions
    task: Any

    @classmethod
    def load(cls, file: Path, target: str) -> Program:
        """Import the file and find the task. Raises as the loader and `Definitions.task` do."""
        definitions = load([file])
        return cls(file, package_root(file), definitions, definitions.task(target))

    def parse(self, arguments: Sequence[str], name: str, act: Callable[[Mapping[str, Any]], None]) -> None:
        """Read the task's inputs from options as `flyte run` does (`--help` included) and act on them."""
        command = _TaskInputs(self.task, act)
        command.main(list(arguments), prog_name=name, standalone_mode=False)


class _TaskInputs(RunTaskCommand):
    """Flyte's own command for a task, which knows the options of its inputs, with another thing to do."""

    def __init__(self, task: Any, act: Callable[[Mapping[str, Any]], None]) -> None:
        super().__init__(obj_name=task.short_name, obj=task, run_args=RunArguments(project="-", domain="-"))
        self._act = act

    def invoke(self, ctx: click.Context) -> None:
        self._validate_required_params(ctx)
        self._act(ctx.params)


@dataclass(frozen=True)
class StartedRun:
    """A run that the control plane has accepted."""

    run: Run

    @property
    def name(self) -> str:
        return str(self.run.name)

    @property
    def url(self) -> str:
        """The run's page."""
        return str(self.run.url)

    def outputs(self) -> tuple[Any, ...]:
        """The values that the task returned; the run must have succeeded."""
        return tuple(self.run.outputs())

    def abort(self) -> None:
        """Stop the run and its containers."""
        self.run.abort(reason="interrupted")


def initialise(config_file: Path, root: Path) -> None:
    """Point the SDK of this process to a control plane."""
    flyte.init_from_config(config_file, root_dir=root)


def start(program: Program, inputs: Mapping[str, Any], name: str | None = None) -> StartedRun:
    """Bundle the code and start the run. Raises RunError when the control plane does not take it."""
    chatter = io.StringIO()
    try:
        # The SDK tells each of its steps on stderr; told only where one of them fails.
        with contextlib.redirect_stderr(chatter):
            run = flyte.with_runcontext(mode="remote", name=name).run(program.task, **inputs)
    except (flyte.errors.BaseRuntimeError, ConnectError, RuntimeError, ValueError, OSError) as error:
        told = chatter.getvalue().strip()
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(f"The run could not be started: {reason}", hint=told or None) from error
    return StartedRun(run)


def describe(values: tuple[Any, ...]) -> str:
    """Outputs as JSON where they have one, the single output of most tasks without a list around it."""
    value = values[0] if len(values) == 1 else list(values)
    return json.dumps(value, default=str, ensure_ascii=False)
