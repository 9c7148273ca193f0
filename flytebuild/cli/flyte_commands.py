"""Our commands within Flyte's own tool: `flyte plan` and `flyte check`, by the SDK's entry points for commands.

They are those of `flytebuild`, with its exit codes and its words for errors, which that tool would not give them.
"""

from __future__ import annotations

import copy
from typing import Any

import click

from flytebuild.cli import check as checking
from flytebuild.cli import plan as planning
from flytebuild.errors import FlytebuildError


def adopted(command: click.Command) -> click.Command:
    """A command as Flyte's tool can have it: the code that it returns is what the process ends with."""
    ours = copy.copy(command)
    ours.help = (command.help or "").replace(f"flytebuild {command.name}", f"flyte {command.name}")

    def invoke(context: click.Context) -> Any:
        try:
            code = command.invoke(context)
        except FlytebuildError as error:
            from flytebuild.cli.console import print_error

            print_error(error)
            code = error.exit_code
        context.exit(code if isinstance(code, int) else 0)

    ours.invoke = invoke  # type: ignore[method-assign, assignment]
    return ours


plan = adopted(planning.plan)
check = adopted(checking.check)
