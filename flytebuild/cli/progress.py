"""A build's progress: one calm line per image on a terminal, plain lines elsewhere."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
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


QUIET_SECONDS = 30.0
"""How long plain lines may stay away before one says what still runs."""

_SLOW_SECONDS = 5.0
"""From when on a terminal shows how long a step has been running."""

Clock = Callable[[], float]


@contextmanager
def follow(*, verbose: bool = False, quiet: float = QUIET_SECONDS) -> Iterator[Emit]:
    """A subscriber for a build's events, for as long as the build takes; enter it in a coroutine.

    What became of the images is told as well where the build ends early.
    """
    console = err()
    is_live = console.is_terminal and not console.is_dumb_terminal
    if is_live and not verbose and not os.environ.get("CI"):
        view = LiveView()
        try:
            with Live(view, console=console, refresh_per_second=8, transient=True):
                yield view.take
        finally:
            for line in view.results:
                console.print(line)
    else:
        lines = PlainLines(console, verbose=verbose)
        with _reminding(lines, quiet):
            yield lines.take


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


@dataclass
class _Image:
    """An image that is being built, and the steps of it that run: when each began, by name."""

    environments: tuple[str, ...]
    since: float
    steps: dict[str, tuple[str, float]] = field(default_factory=dict)


@dataclass
class _Running:
    """What runs at the moment."""

    clock: Clock
    images: dict[str, _Image] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        match event:
            case ImageStarted():
                self.images[event.image] = _Image(event.environments, self.clock())
            case StepStarted() if event.image in self.images:
                self.images[event.image].steps[event.step] = (event.name, self.clock())
            case StepFinished() if event.image in self.images:
                self.images[event.image].steps.pop(event.step, None)
            case ImageFinished():
                self.images.pop(event.image, None)


@dataclass
class PlainLines:
    """One line per step that ran and per image; a step that several images share is told once."""

    console: Console
    verbose: bool = False
    clock: Clock = time.monotonic
    _told: set[str] = field(default_factory=set)
    _running: _Running = field(init=False)
    _last: float = field(init=False)

    def __post_init__(self) -> None:
        self._running = _Running(self.clock)
        self._last = self.clock()

    @property
    def silence(self) -> float:
        """Seconds since the last line."""
        return self.clock() - self._last

    def take(self, event: Event) -> None:
        """Print what an event says, if it says anything new."""
        self._running.take(event)
        match event:
            case ImageStarted():
                self._say(Text(f"{_names(event.environments)}: building {event.reference}"))
            case StepFinished() if self._is_new(event.step + "done"):
                self._say(Text("  ").append(_step(event)))
            case StepLog() if self.verbose:
                for line in event.lines:
                    if self._is_new(f"{event.step} {line}"):
                        self._say(Text(f"    {line}"))
            case ImageFinished():
                self._say(_result(event))
            case Notice() if self._is_new(event.message):
                self._say(_notice(event))

    def remind(self) -> None:
        """Say what still runs: each step once, with all whose image waits for it, or images between two steps."""
        steps: dict[tuple[str, str], tuple[float, list[str]]] = {}
        for target, image in self._running.images.items():
            for key, (name, since) in (image.steps or {target: ("preparing", image.since)}).items():
                steps.setdefault((key, name), (since, []))[1].extend(image.environments)
        for (_, name), (since, names) in steps.items():
            self._say(Text(f"  {name}: running for {self.clock() - since:.0f} s ({', '.join(names)})", "dim"))
        self._last = self.clock()

    def _say(self, line: Text) -> None:
        self.console.print(line)
        self._last = self.clock()

    def _is_new(self, key: str) -> bool:
        if key in self._told:
            return False
        self._told.add(key)
        return True


@dataclass
class LiveView:
    """What a terminal shows while images are built; rendered anew several times a second."""

    clock: Clock = time.monotonic
    results: list[Text] = field(default_factory=list)
    _running: _Running = field(init=False)
    _spinner: Spinner = field(default_factory=lambda: Spinner("dots"))

    def __post_init__(self) -> None:
        self._running = _Running(self.clock)

    def take(self, event: Event) -> None:
        """Note what an event changes."""
        self._running.take(event)
        if isinstance(event, ImageFinished):
            self.results.append(_result(event))
        elif isinstance(event, Notice):
            self.results.append(_notice(event))

    def __rich__(self) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        for line in self.results:
            table.add_row("", line)
        # A copy: events come while a thread of the terminal's renders.
        for image in list(self._running.images.values()):
            line = Text.assemble((_names(image.environments), "bold"), "  ", self._step(image))
            table.add_row(self._spinner, line, f"{self.clock() - image.since:.0f} s")
        return table

    def _step(self, image: _Image) -> str:
        """The step that began last, and how long it has been running when that is long."""
        steps = list(image.steps.values())
        if not steps:
            return "waiting"
        name, since = steps[-1]
        seconds = self.clock() - since
        return f"{name}  (for {seconds:.0f} s)" if seconds >= _SLOW_SECONDS else name


def _step(event: StepFinished) -> Text:
    if event.cancelled:
        return Text(f"{event.name}: cancelled")
    if event.error:
        return Text(f"{event.name}: failed", "red")
    return Text(f"{event.name}: " + ("cached" if event.cached else f"{event.seconds:.1f} s"))


def _result(event: ImageFinished) -> Text:
    names = _names(event.environments)
    if event.cancelled:
        return Text(f"{names}: cancelled after {event.seconds:.1f} s")
    if event.error:
        return Text.assemble((f"{names}: failed", "red"), f" after {event.seconds:.1f} s")
    return Text.assemble((f"{names}: built", "green"), f" {event.reference} in {event.seconds:.1f} s")


def _notice(event: Notice) -> Text:
    return Text.assemble(("note", "bold yellow"), ": ", event.message)


def _names(environments: tuple[str, ...]) -> str:
    return ", ".join(environments)
