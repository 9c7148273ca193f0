"""Where words go: data to stdout, everything else to stderr. Colour only on terminals, and never needed."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.text import Text

from flytebuild.errors import BuildError, FlytebuildError, LoadError, RunError, StepFailure


def out() -> Console:
    """The console for data."""
    return Console(file=sys.stdout, highlight=False, markup=False, soft_wrap=True)


def err() -> Console:
    """The console for progress, notes and errors."""
    return Console(file=sys.stderr, highlight=False, markup=False, soft_wrap=True)


def print_error(error: FlytebuildError) -> None:
    """One sentence, what belongs to it, and what to do next."""
    console = err()
    if isinstance(error, LoadError) and error.traceback:
        console.print(Text(error.traceback))
    if isinstance(error, RunError) and error.details:
        console.print(Text(error.details))
    if isinstance(error, BuildError):
        for failure in error.failures:
            _print_failure(console, failure)
    console.print(Text.assemble(("error", "bold red"), ": ", error.message))
    if error.hint:
        console.print(Text.assemble("\n", ("hint", "bold cyan"), ": ", error.hint))


def _print_failure(console: Console, failure: StepFailure) -> None:
    names = ", ".join(f"`{name}`" for name in failure.environments)
    console.print(Text.assemble((f"step failed: {failure.step}", "bold red"), f"  (image of {names})"))
    for line in failure.log:
        console.print(Text(f"  {line}"))
    console.print(Text(f"  {failure.message}\n"))
