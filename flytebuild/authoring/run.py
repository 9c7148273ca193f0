"""Starting runs with the SDK: a task's inputs from the command line, and the run that it becomes."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import flyte
import flyte.errors
from connectrpc.errors import ConnectError
from flyte.remote import Run
from flyte.types import TypeTransformerFailedError
from msgspec import Struct

from flytebuild.authoring import leaving
from flytebuild.authoring.environments import Definitions
from flytebuild.authoring.inputs import TaskInputs
from flytebuild.authoring.loader import load
from flytebuild.authoring.roots import named
from flytebuild.authoring.standins import refuse_stand_in_values
from flytebuild.errors import RunError, UsageError
from flytebuild.events import Emit, ignore

leaving.with_care()

log = logging.getLogger(__name__)

_INTERRUPTED = "interrupted"


class Program(Struct, frozen=True):
    """A file with its task: what `flytebuild run FILE TASK` names. `root` is where its imports start."""

    file: Path
    root: Path
    definitions: Definitions
    task: Any

    @classmethod
    def load(cls, file: Path, target: str, emit: Emit = ignore, *, stand_in: bool = False) -> Program:
        """Import the file and find the task; `stand_in` as in `load`, since tasks run elsewhere.

        Raises as the loader and `Definitions.task` do, and DefinitionError for a task whose inputs or outputs are made
        of what is not installed here: this side converts them.
        """
        definitions = load([file], emit, stand_in=stand_in)
        task = definitions.task(target)
        refuse_stand_in_values(task)
        return cls(file, named(file).roots[0], definitions, task)

    @classmethod
    def of(cls, task: Any, file: Path) -> Program:
        """The program of a task that is loaded already, which `file` defines. Raises as `Definitions.collect`."""
        parent = getattr(task, "parent_env", None)
        environment = parent() if callable(parent) else None
        if environment is None:
            raise UsageError(
                f"`{getattr(task, 'name', task)}` is no task of an environment",
                hint="`@environment.task` makes one of a function",
            )
        root = named(file).roots[0] if file.is_file() else file.parent
        return cls(file, root, Definitions.collect([environment]), task)

    def parse(
        self,
        arguments: Sequence[str],
        name: str,
        connect: Callable[[], object],
        act: Callable[[Mapping[str, Any]], None],
    ) -> None:
        """Read the task's inputs from options as `flyte run` does (`--help` included) and act on them.

        `connect` is called before an input is uploaded that is on this machine only.
        """
        command = TaskInputs(self.task, connect, act)
        command.main(list(arguments), prog_name=name, standalone_mode=False)


class StartedRun(Struct, frozen=True):
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
        self.run.abort(reason=_INTERRUPTED)


def initialise(config_file: Path, root: Path) -> None:
    """Point the SDK of this process to a control plane."""
    flyte.init_from_config(config_file, root_dir=root)


def start(
    program: Program, inputs: Mapping[str, Any], name: str | None = None, labels: Mapping[str, str] | None = None
) -> StartedRun:
    """Bundle the code and start the run.

    Interrupted, it leaves no run of this name behind. Raises UsageError for inputs that the task cannot take, RunError
    when the control plane does not take the run.
    """
    chatter, asked = io.StringIO(), datetime.now(timezone.utc)
    # What was typed in has no file that a container could import. For the rest the SDK knows notebooks itself.
    is_interactive = None if program.file.is_file() else True
    try:
        # The SDK tells each of its steps; of those, only the one that fails is news, and its error says which it was.
        with contextlib.redirect_stderr(chatter), contextlib.redirect_stdout(chatter):
            context = flyte.with_runcontext(
                mode="remote", name=name, labels=dict(labels or {}), interactive_mode=is_interactive
            )
            run = asyncio.run(_begin(context, program.task, inputs))
    except TypeTransformerFailedError as error:
        raise UsageError(f"The inputs do not fit `{program.task.name}`: {_first_line(error)}") from error
    except (flyte.errors.BaseRuntimeError, ConnectError, RuntimeError, ValueError, OSError) as error:
        raise RunError(f"The run could not be started: {_first_line(error)}") from error
    except KeyboardInterrupt:
        if name is not None:
            _abort_if_begun(name, asked)
        raise
    finally:
        log.debug("the SDK says:\n%s", chatter.getvalue())
    return StartedRun(run)


async def _begin(context: Any, task: Any, inputs: Mapping[str, Any]) -> Run:
    """In a loop of ours, for Ctrl-C to cancel: called without one, the SDK goes on in a thread of its own."""
    run: Run = await context.run.aio(task, **inputs)
    return run


def _abort_if_begun(name: str, asked: datetime) -> None:
    """Abort a run that may have been begun since it was asked for; an older one of that name is somebody else's."""
    with contextlib.suppress(flyte.errors.BaseRuntimeError, ConnectError):
        run = Run.get(name)
        if run.action.start_time >= asked:
            run.abort(reason=_INTERRUPTED)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def describe(values: tuple[Any, ...]) -> str:
    """Outputs as JSON where they have one, the single output of most tasks without a list around it."""
    value = values[0] if len(values) == 1 else list(values)
    return json.dumps(value, default=str, ensure_ascii=False)
