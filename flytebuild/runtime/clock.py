"""The time of a control plane: the machine's own, but steady while anything is under way.

The clock on the wall may be set at any moment: by hand, by NTP after a machine was asleep. Durations are differences of
times that are kept, so those of a run all come from one clock that only goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone


def elapsed() -> float:
    """Seconds that nobody can set; they go on while the machine sleeps, where the system tells that."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class SteadyClock:
    """Goes on from what the clock on the wall showed when it was `set`; both sources are in seconds."""

    def __init__(self, wall: Callable[[], float] = time.time, since: Callable[[], float] = elapsed) -> None:
        self._wall = wall
        self._since = since
        self.set()

    def set(self) -> None:
        """Show what the clock on the wall shows, from now on."""
        self._offset = self._wall() - self._since()

    def now(self) -> datetime:
        """The time, aware and in UTC."""
        return datetime.fromtimestamp(self._offset + self._since(), timezone.utc)


CLOCK = SteadyClock()
"""The clock of this process, which `flytebuild.runtime.server` sets whenever nothing is under way."""
