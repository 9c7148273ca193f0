"""How far looking through stores has come: on a terminal a line that stays where it is, elsewhere one now and then."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.status import Status
from rich.text import Text

from flytebuild.cli.console import err, notice
from flytebuild.cli.progress.follow import QUIET_SECONDS, is_live
from flytebuild.cli.progress.tally import Clock
from flytebuild.events import Emit, Event, Looked


@contextmanager
def counting() -> Iterator[Emit]:
    """A subscriber for what the user should know, and for what was looked at, as long as that takes."""
    console = err()
    if not is_live(console):
        yield Counts(console).take
        return
    with console.status("looking") as status:
        yield Counts(console, status).take


@dataclass
class Counts:
    """What is being looked at, in all places at the same time; without a `status` a line is told every `quiet` seconds.

    They count from the first thing that was looked at.
    """

    console: Console
    status: Status | None = None
    quiet: float = QUIET_SECONDS
    clock: Clock = time.monotonic
    _under_way: dict[str, Looked] = field(default_factory=dict)
    _last: float | None = None

    def take(self, event: Event) -> None:
        """Note what an event changes, and tell it when it is time."""
        if not isinstance(event, Looked):
            self._tell(event)
            return
        self._under_way[event.what] = event
        if event.current == event.total:
            del self._under_way[event.what]
        if self.status:
            self.status.update(self._line())
        elif self._last is None:
            self._last = self.clock()
        elif self._under_way and self.clock() - self._last >= self.quiet:
            self.console.print(self._line())
            self._last = self.clock()

    def _tell(self, event: Event) -> None:
        """What is printed in between takes the place of the line, which then is below it."""
        if self.status:
            self.status.stop()
        notice(event)
        if self.status:
            self.status.start()

    def _line(self) -> Text:
        parts = (f"{item.current:,} of {item.total:,} {item.what}" for item in self._under_way.values())
        return Text("; ".join(parts))
