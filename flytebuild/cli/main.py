"""`flytebuild`: finds the command, runs it, turns errors into words and exit codes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import rich_click as click

from flytebuild.cli.console import err, print_error
from flytebuild.errors import FlytebuildError

INTERRUPTED = 130
USAGE = 64

_COMMANDS = {
    "plan": "Show what a workflow's environments need, what is there, and what must be built.",
    "build": "Build the images that are missing.",
    "run": "Run a task, each environment in its own image, on this machine.",
    "up": "Start the local control plane.",
    "down": "Stop the local control plane.",
    "status": "Show whether the local control plane runs.",
}


class _LazyCommands(click.RichGroup):
    """Imports a command's module when it is used, so that `--help` and completion import nothing heavy."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(importlib.import_module(f"flytebuild.cli.{cmd_name}"), cmd_name)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_LazyCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="flytebuild", message="%(prog)s %(version)s")
def cli() -> None:
    """Plan, build and run Flyte workflows whose tasks live in different images.

    \b
    flytebuild plan --for main        what does `main` need, and what must be built?
    flytebuild build --for main       build it
    flytebuild run main.py main --x 1 run it, each task in its own image
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """The `flytebuild` command. Exit codes: see the README."""
    try:
        code = cli.main(arguments, prog_name="flytebuild", standalone_mode=False)
    except FlytebuildError as error:
        print_error(error)
        sys.exit(error.exit_code)
    except click.UsageError as error:
        error.show()
        sys.exit(USAGE)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        err().print("interrupted")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing is wrong, and nothing more can be said.
        sys.stderr.close()
        sys.exit(0)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
