"""A build's progress: one calm line per image on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from flytebuild.cli.console import err
from flytebuild.events import Emit, Event, ImageFinished, ImageStarted, Notice, StepFinished, StepLog, StepStarted

_noticed: set[str] = set()


def notice(event: Event) -> None:
    """A subscriber for planning: prints what the user should know, once per process, and nothing else."""
    if isinstance(event, Notice) and event.message not in _noticed:
        _noticed.add(event.message)
        err().print(_notice(event))


@contextmanager
def follow(*, verbose: bool = False) -> Iterator[Emit]:
    """A subscriber for a build's events, for as long as the build takes."""
    console = err()
    if console.is_terminal and not verbose and not os.environ.get("CI"):
        view = LiveView()
        with Live(view, console=console, refresh_per_second=8, transient=True):
            yield view.take
        for line in view.results:
            console.print(line)
    else:
        yield PlainLines(console, verbose=verbose).take


@dataclass
class PlainLines:
    """One line per step that ran and per image; a step that several images share is told once."""

    console: Console
    verbose: bool = False
    _told: set[str] = field(default_factory=set)

    def take(self, event: Event) -> None:
        """Print what an event says, if it says anything new."""
        match event:
            case ImageStarted():
                self.console.print(f"{_names(event.environments)}: building {event.reference}")
            case StepFinished() if self._is_new(event.step + "done"):
                self.console.print(f"  {_step(event)}")
            case StepLog() if self.verbose:
                for line in event.lines:
                    if self._is_new(f"{event.step} {line}"):
                        self.console.print(Text(f"    {line}"))
            case ImageFinished():
                self.console.print(_result(event))
            case Notice() if self._is_new(event.message):
                self.console.print(_notice(event))

    def _is_new(self, key: str) -> bool:
        if key in self._told:
            return False
        self._told.add(key)
        return True


@dataclass
class _Row:
    environments: tuple[str, ...]
    started: float
    step: str = "waiting"
    done: int = 0
    steps: int = 0


@dataclass
class LiveView:
    """What a terminal shows while images are built; rendered anew several times a second."""

    results: list[Text] = field(default_factory=list)
    _rows: dict[str, _Row] = field(default_factory=dict)
    _spinner: Spinner = field(default_factory=lambda: Spinner("dots"))

    def take(self, event: Event) -> None:
        """Note what an event changes."""
        match event:
            case ImageStarted():
                self._rows[event.image] = _Row(event.environments, time.monotonic(), steps=event.steps)
            case StepStarted():
                self._rows[event.image].step = event.name
            case StepFinished():
                self._rows[event.image].done += 1
            case ImageFinished():
                self._rows.pop(event.image, None)
                self.results.append(_result(event))
            case Notice():
                self.results.append(_notice(event))

    def __rich__(self) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        for line in self.results:
            table.add_row("", line)
        for row in self._rows.values():
            seconds = f"{time.monotonic() - row.started:.0f} s"
            table.add_row(self._spinner, Text.assemble((_names(row.environments), "bold"), f"  {row.step}"), seconds)
        return table


def _step(event: StepFinished) -> Text:
    if event.error:
        return Text(f"{event.name}: failed", "red")
    return Text(f"{event.name}: " + ("cached" if event.cached else f"{event.seconds:.1f} s"))


def _result(event: ImageFinished) -> Text:
    names = _names(event.environments)
    if event.error:
        return Text.assemble((f"{names}: failed", "red"), f" after {event.seconds:.1f} s")
    return Text.assemble((f"{names}: built", "green"), f" {event.reference} in {event.seconds:.1f} s")


def _notice(event: Notice) -> Text:
    return Text.assemble(("note", "bold yellow"), ": ", event.message)


def _names(environments: tuple[str, ...]) -> str:
    return ", ".join(environments)
