"""Progress on a terminal: a line per image that stays where it is, and one for the whole."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from rich.console import RenderableType
from rich.filesize import decimal
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from flytebuild.amounts import duration
from flytebuild.cli.progress import words
from flytebuild.cli.progress.tally import Clock, Expected, Image, Tally, nothing_known
from flytebuild.events import WHEEL_LAYERS, Event, ImageFinished, Notice, StepLog

_SLOW_SECONDS = 5.0
"""From when on it is shown how long a step has been running."""


def nowhere(_line: Text) -> None:
    """Where lines of steps go that nobody wants to see."""


@dataclass
class LiveView:
    """What a terminal shows while images are built; rendered anew several times a second.

    What steps write goes to `log`, each line once and below its step's name: above what is rendered, it stays.
    """

    clock: Clock = time.monotonic
    expected: Expected = nothing_known
    results: list[Text] = field(default_factory=list)
    log: Callable[[Text], object] = nowhere
    _tally: Tally = field(init=False)
    _told: set[tuple[str, str]] = field(default_factory=set)
    _speaker: str = ""
    _spinner: Spinner = field(default_factory=lambda: Spinner("dots"))

    def __post_init__(self) -> None:
        self._tally = Tally(self.clock, self.expected)

    def take(self, event: Event) -> None:
        """Note what an event changes."""
        self._tally.take(event)
        if isinstance(event, ImageFinished):
            self.results.append(words.result(event))
        elif isinstance(event, Notice):
            self.results.append(words.notice(event))
        elif isinstance(event, StepLog):
            self._repeat(event)

    def __rich__(self) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        for line in self.results:
            table.add_row("", line)
        for running in list(self._tally.wheels.values())[-1:]:
            line = Text.assemble((WHEEL_LAYERS, "bold"), f"  {running.name}")
            table.add_row(self._spinner, line, f"{self.clock() - running.since:.0f} s")
        # A copy: events come while a thread of the terminal's renders.
        images = list(self._tally.images.values())
        for image in images:
            line = Text.assemble((words.names(image.environments), "bold"), "  ", self._step(image))
            line.append(_counts(image), "dim")
            table.add_row(self._spinner, line, f"{self.clock() - image.since:.0f} s")
        if images:
            table.add_row("", Text(self._total(len(images)), "dim"))
        return table

    def _repeat(self, event: StepLog) -> None:
        """Pass on what a step writes; one that several images share says everything to each of them."""
        new = [line for line in event.lines if (event.step, line) not in self._told]
        self._told.update((event.step, line) for line in new)
        if new and event.step != self._speaker:
            self._speaker = event.step
            self.log(Text(f"  {event.name}", "dim"))
        for line in new:
            self.log(Text(f"    {line}"))

    def _step(self, image: Image) -> str:
        """The step that began last, and how long it has been running, or the image waiting, when that is long."""
        steps = list(image.running.values())
        name, since = (steps[-1].name, steps[-1].since) if steps else ("waiting", image.idle_since)
        seconds = self.clock() - since
        return f"{name}  (for {seconds:.0f} s)" if seconds >= _SLOW_SECONDS else name

    def _total(self, under_way: int) -> str:
        tally = self._tally
        parts = [f"{tally.ended} of {tally.ended + under_way} images done"]
        parts.append(f"{len(tally.executed)} steps executed, {len(tally.cached)} cached")
        left = tally.seconds_left()
        if left is not None:
            parts.append(f"about {duration(left)} left")
        return "  ·  ".join(parts)


def _counts(image: Image) -> str:
    """How many of its layers are there, how many were there before, and what is being moved."""
    parts = [f"{image.total - len(image.pending)}/{image.total} layers"] if image.total else []
    if image.cached:
        parts.append(f"{image.cached} cached")
    current, total = image.bytes
    if current:
        parts.append(f"{decimal(current)}/{decimal(total)}" if total >= current else decimal(current))
    return "".join(f"  {part}" for part in parts)
