"""Progress as lines, for logs and pipes."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from rich.console import Console
from rich.text import Text

from flytebuild.cli.progress import words
from flytebuild.cli.progress.tally import Clock, Tally
from flytebuild.events import WHEEL_LAYERS, Event, ImageFinished, ImageStarted, Notice, StepFinished, StepLog

_TOLD = 0.05
"""Seconds below which a step took none, as they are told."""


@dataclass
class PlainLines:
    """One line per step that took its time and per image, and one for the whole when it is closed.

    A step that several images share is told once. One that took no time is told when `verbose`, where it did not
    succeed, and where it wrote something.
    """

    console: Console
    verbose: bool = False
    clock: Clock = time.monotonic
    _told: set[str] = field(default_factory=set)
    _wrote: set[str] = field(default_factory=set)
    _tally: Tally = field(init=False)
    _last: float = field(init=False)
    _began: float = field(init=False)
    _results: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._tally = Tally(self.clock)
        self._last = self._began = self.clock()

    @property
    def silence(self) -> float:
        """Seconds since the last line."""
        return self.clock() - self._last

    def take(self, event: Event) -> None:
        """Print what an event says, if it says anything new."""
        self._tally.take(event)
        match event:
            case ImageStarted():
                self._say(Text(f"{words.names(event.environments)}: building {event.reference}"))
            case StepFinished() if self._is_of_note(event) and self._is_new(event.step + "done"):
                if event.image == WHEEL_LAYERS and self._is_new(WHEEL_LAYERS):
                    self._say(Text(f"{WHEEL_LAYERS}: building"))
                self._say(Text("  ").append(words.step(event)))
            case StepLog():
                self._wrote.add(event.step)
                for line in event.lines if self.verbose else ():
                    if self._is_new(f"{event.step} {line}"):
                        self._say(Text(f"    {line}"))
            case ImageFinished():
                self._results[words.kind(event)] += 1
                self._say(words.result(event))
            case Notice() if self._is_new(event.message):
                self._say(words.notice(event))

    def remind(self) -> None:
        """Say what still runs, each step once with all whose image needs it, and which images wait for others."""
        now = self.clock()
        for running, names in self._tally.running():
            self._say(Text(f"  {running.name}: running for {now - running.since:.0f} s ({words.names(names)})", "dim"))
        for image in self._tally.waiting():
            self._say(Text(f"  waiting for {now - image.idle_since:.0f} s ({words.names(image.environments)})", "dim"))
        self._last = self.clock()

    def close(self) -> None:
        """Say what came of it all, unless nothing was done."""
        if self._results:
            executed, cached = len(self._tally.executed), len(self._tally.cached)
            self._say(words.summary(self._results, executed, cached, self.clock() - self._began))

    def _is_of_note(self, event: StepFinished) -> bool:
        is_idle = event.seconds < _TOLD and not (event.cached or event.cancelled or event.error)
        return self.verbose or not is_idle or event.step in self._wrote

    def _say(self, line: Text) -> None:
        self.console.print(line)
        self._last = self.clock()

    def _is_new(self, key: str) -> bool:
        if key in self._told:
            return False
        self._told.add(key)
        return True
