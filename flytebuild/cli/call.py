"""`flytebuild.run`: what the command does, from a script or a notebook."""

from __future__ import annotations

import asyncio
import inspect
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flyte.remote import Run


class Runner:
    """Runs a task here, each environment in its own image."""

    def __call__(self, task: Any, /, **inputs: Any) -> Run:
        """Build the images that are missing, start the control plane if it does not run, and start the run.

        Returns the SDK's run, which has `url`, `wait()` and `outputs()`. May be called in a notebook, whose event loop
        stands still meanwhile; `await flytebuild.run.aio(…)` lets it go on.

        Raises the errors that the command tells (`flytebuild.errors`): DefinitionError, BuildError, UsageError,
        RunError, UnavailableError.
        """
        # In a thread of its own, since there may be a loop in this one.
        with ThreadPoolExecutor(1, thread_name_prefix="flytebuild-run") as pool:
            return pool.submit(_start, task, inputs).result()

    async def aio(self, task: Any, /, **inputs: Any) -> Run:
        """The same, without standing in the way of the caller's event loop."""
        return await asyncio.to_thread(_start, task, inputs)


run = Runner()


def _start(task: Any, inputs: dict[str, Any]) -> Run:
    from flytebuild import config
    from flytebuild.authoring import run as sdk
    from flytebuild.build.secrets import task_secrets
    from flytebuild.cli import foreseen
    from flytebuild.cli.console import err
    from flytebuild.cli.prepare import prepare
    from flytebuild.runtime import client, owner

    settings = config.load(Path.cwd())
    program = sdk.Program.of(task, _source(task))
    plane = client.ensure(settings, err().print)
    os.environ.update(client.flyte_environment(plane))
    sdk.initialise(plane.config_file, program.root)
    secrets = task_secrets(program.definitions.secrets(), os.environ, settings.secrets)
    unknown = owner.hand_over(plane, secrets)
    foreseen.refuse(program.definitions, task.name, {name: secrets.missing[name] for name in unknown})
    asyncio.run(prepare(settings, program.definitions, [task.name]))
    return sdk.start(program, inputs).run


def _source(task: Any) -> Path:
    """The file that a task is written in; code that was typed in belongs to the current folder."""
    try:
        found = inspect.getsourcefile(task.func)
    except (TypeError, AttributeError):
        found = None
    file = Path(found) if found else None
    return file if file and file.is_file() else Path.cwd() / "__main__.py"
