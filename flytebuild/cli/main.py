"""`flytebuild`: finds the command, runs it, turns errors into words and exit codes."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import TextIO, cast

import click

from flytebuild.cli import console, signals
from flytebuild.cli.console import err, print_error
from flytebuild.cli.output import Output
from flytebuild.errors import DefectError, FlytebuildError, OutputError, UsageError

USAGE = 64
READER_GONE = 141
"""What a shell sees of a tool that a closed pipe has ended."""

_COMMANDS = (
    "plan",
    "build",
    "lock",
    "check",
    "run",
    "rerun",
    "shell",
    "explain",
    "diff",
    "graph",
    "size",
    "prune",
    "up",
    "down",
    "status",
    "runs",
    "doctor",
)


class _LazyCommands(click.Group):
    """Imports a command's module when it is named; the modules import what is heavy when the command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(importlib.import_module(f"flytebuild.cli.{cmd_name}"), cmd_name)
        return command if isinstance(command, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in _COMMANDS and not args[0].startswith("-"):
            if args[0] in ("help", "version"):
                known = f"`flytebuild --{args[0]}` shows it"
                if args[0] == "help" and args[1:2] and args[1] in _COMMANDS:
                    known = f"`flytebuild {args[1]} --help` shows it"
                raise UsageError(f"There is no command `{args[0]}`", hint=known)
            import difflib

            nearest = difflib.get_close_matches(args[0], _COMMANDS, 1)
            known = "commands: " + ", ".join(f"`{name}`" for name in _COMMANDS)
            hint = f"did you mean `{nearest[0]}`?" if nearest else known
            raise UsageError(f"There is no command `{args[0]}`", hint=hint)
        return super().resolve_command(ctx, args)


@click.group(
    cls=_LazyCommands,
    invoke_without_command=True,
    subcommand_metavar="[COMMAND] [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"]},
)
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
    signals.end_as_on_interruption()
    # gRPC's library writes to stderr what it also answers, and only listens before it is imported.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    console.is_flytebuild = True
    # Python has no stream where the caller has closed it (`>&-`).
    output = Output(sys.stdout or io.StringIO())
    with contextlib.redirect_stdout(cast(TextIO, output)):
        try:
            code = _run(arguments, output)
            # Not left to the interpreter's end, which would have no words for it.
            output.flush()
        except (OSError, SystemExit):
            if output.failure is None:
                raise
    if output.failure is not None:
        output.discard()
        code = _output_failed(output.failure)
    sys.exit(code)


def _run(arguments: Sequence[str] | None, output: Output) -> int:
    """Run the command; every error but those of our own output becomes words and an exit code."""
    try:
        code = cli.main(arguments, prog_name="flytebuild", standalone_mode=False)
    except FlytebuildError as error:
        print_error(error)
        return error.exit_code
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "flytebuild"
        message = error.format_message().strip().rstrip(".")
        print_error(UsageError(message, hint=f"`{command} --help` shows what can be given"))
        return USAGE
    except click.ClickException as error:
        print_error(UsageError(error.format_message().strip().rstrip(".")))
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        signals.end_at_once()
        err().print("terminated" if signals.received == signals.TERMINATED else "interrupted")
        return signals.received or signals.INTERRUPTED
    except Exception as error:
        if error is output.failure:
            raise
        print_error(_defect(error))
        return DefectError.exit_code
    return code if isinstance(code, int) else 0


def _defect(error: Exception) -> DefectError:
    if os.environ.get("FLYTEBUILD_TRACEBACK") == "1":
        traceback.print_exception(error, file=sys.stderr)
    said = (str(error).splitlines() or [""])[0]
    return DefectError(
        f"This is a defect of flytebuild: {type(error).__name__}: {said}".rstrip(": "),
        hint="please report it where you got flytebuild, with what `FLYTEBUILD_TRACEBACK=1` makes it print",
    )


def _output_failed(error: OSError) -> int:
    if isinstance(error, BrokenPipeError):
        # The reader of our output has gone (`| head`): nothing is wrong, and nothing more can be said.
        return READER_GONE
    print_error(OutputError(f"The output cannot be written: {error.strerror}"))
    return OutputError.exit_code


if __name__ == "__main__":
    main()
