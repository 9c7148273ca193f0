"""`flytebuild`: finds the command, runs it, turns errors into words and exit codes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

from flytebuild.cli.console import err, print_error
from flytebuild.errors import FlytebuildError, UsageError

INTERRUPTED = 130
USAGE = 64

_COMMANDS = ("plan", "build", "run", "up", "down", "status")


class _LazyCommands(click.Group):
    """Imports a command's module when it is named; the modules import what is heavy when the command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(importlib.import_module(f"flytebuild.cli.{cmd_name}"), cmd_name)
        return command if isinstance(command, click.Command) else None


@click.group(cls=_LazyCommands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="flytebuild", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Plan, build and run Flyte workflows whose tasks live in different images.

    \b
    Examples:
      flytebuild plan --for main           what does `main` need, and what is missing?
      flytebuild build --for main          build it
      flytebuild run main.py main --x 1    run it, each task in its own image
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> None:
    """The `flytebuild` command. Exit codes: see the README."""
    try:
        code = cli.main(arguments, prog_name="flytebuild", standalone_mode=False)
    except FlytebuildError as error:
        print_error(error)
        sys.exit(error.exit_code)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "flytebuild"
        message = error.format_message().strip().rstrip(".")
        print_error(UsageError(message, hint=f"`{command} --help` shows what can be given"))
        sys.exit(USAGE)
    except click.ClickException as error:
        print_error(UsageError(error.format_message().strip().rstrip(".")))
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
