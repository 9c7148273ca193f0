"""Where words go: data to stdout, everything else to stderr. Colour only on terminals, and never needed."""

from __future__ import annotations

import os
import sys
from typing import Literal, TextIO

from rich.console import Console
from rich.text import Text

from flytebuild.errors import (
    BuildError,
    CheckError,
    DriftError,
    FlytebuildError,
    LoadError,
    LockDriftError,
    PartialError,
    StepFailure,
)
from flytebuild.events import Event, Notice

is_flytebuild = False
"""Whether this process is `flytebuild` itself, and not one of Flyte's tools or a script that it is a plug-in of."""


def out() -> Console:
    """The console for data."""
    return _console(sys.stdout)


def err() -> Console:
    """The console for progress, notes and errors."""
    return _console(sys.stderr)


def note(message: str) -> Text:
    """What the user should know, as it is shown."""
    return Text.assemble(("note", "bold yellow"), ": ", message)


_noticed: set[str] = set()


def notice(event: Event) -> None:
    """A subscriber for planning: prints what the user should know, once per process, and nothing else."""
    if isinstance(event, Notice) and event.message not in _noticed:
        _noticed.add(event.message)
        err().print(note(event.message))


def _console(file: TextIO) -> Console:
    # Rich alone would leave out colours and keep bold and dim: https://no-color.org asks for no colour, and whoever
    # sets it wants text that is only text.
    system: Literal["auto"] | None = None if os.environ.get("NO_COLOR") else "auto"
    return Console(file=file, highlight=False, markup=False, emoji=False, soft_wrap=True, color_system=system)


def print_error(error: FlytebuildError) -> None:
    """One sentence, what belongs to it, and what to do next."""
    console = err()
    if isinstance(error, LoadError) and error.traceback:
        console.print(Text(error.traceback))
    if error.details:
        console.print(Text(error.details))
    if isinstance(error, DriftError | LockDriftError):
        for difference in error.differences:
            console.print(Text(f"  {difference}"))
    if isinstance(error, PartialError):
        for problem in error.problems:
            console.print(Text(f"  {problem.message}"))
    if isinstance(error, CheckError):
        for finding in error.findings:
            console.print(Text(f"  {finding}"))
    if isinstance(error, BuildError):
        for failure in error.failures:
            _print_failure(console, failure)
    console.print(Text.assemble(("error", "bold red"), ": ", error.message))
    if error.hint:
        console.print(Text.assemble("\n", ("hint", "bold cyan"), ": ", error.hint))


def _print_failure(console: Console, failure: StepFailure) -> None:
    names = ", ".join(f"`{name}`" for name in failure.environments)
    console.print(Text.assemble((f"step failed: {failure.step}", "bold red"), f"  (image of {names})"))
    if failure.origin:
        console.print(Text(f"  written at {failure.origin}"))
    for line in failure.log:
        console.print(Text(f"  {line}"))
    hint = f"\n  hint: {failure.hint}" if failure.hint else ""
    console.print(Text(f"  {failure.message}{hint}\n"))
