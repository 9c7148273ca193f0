"""Which view of a build there is: chosen by what is asked for, else by where the words go."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live

from flytebuild.cli.console import err
from flytebuild.cli.progress.json_lines import JsonLines
from flytebuild.cli.progress.plain import PlainLines
from flytebuild.cli.progress.tally import Expected, nothing_known
from flytebuild.cli.progress.terminal import LiveView, nowhere
from flytebuild.config_values import ProgressMode
from flytebuild.events import Emit

QUIET_SECONDS = 30.0
"""How long plain lines may stay away before one says what still runs."""


@contextmanager
def follow(
    mode: ProgressMode = "auto",
    *,
    verbose: bool = False,
    quiet: float = QUIET_SECONDS,
    expected: Expected = nothing_known,
) -> Iterator[Emit]:
    """A subscriber for a build's events, for as long as the build takes; enter it in a coroutine.

    What became of the images is told as well where the build ends early.
    """
    console = err()
    if mode == "json":
        yield JsonLines(sys.stderr).take
    elif mode == "tty" or (mode == "auto" and not verbose and is_live(console)):
        view = LiveView(expected=expected, log=console.print if verbose else nowhere)
        try:
            with Live(view, console=console, refresh_per_second=8, transient=True):
                yield view.take
        finally:
            for line in view.results:
                console.print(line)
    else:
        lines = PlainLines(console, verbose=verbose)
        with _reminding(lines, quiet):
            try:
                yield lines.take
            finally:
                lines.close()


def is_live(console: Console) -> bool:
    """Whether lines may be drawn again where they are."""
    is_plain = os.environ.get("CI") or os.environ.get("NO_COLOR")
    return console.is_terminal and not console.is_dumb_terminal and not is_plain


@contextmanager
def _reminding(lines: PlainLines, quiet: float) -> Iterator[None]:
    """Have the lines say what still runs whenever nothing else was said for `quiet` seconds."""

    async def remind() -> None:
        while True:
            await asyncio.sleep(max(quiet - lines.silence, 0))
            if lines.silence >= quiet:
                lines.remind()

    task = asyncio.create_task(remind())
    try:
        yield
    finally:
        task.cancel()
