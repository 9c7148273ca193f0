"""Progress for other programs: every event as one line of JSON (`docs/json.md`)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime, timezone
from typing import TextIO

from msgspec import Struct, to_builtins

from flytebuild.events import Event


def _now() -> datetime:
    return datetime.now(timezone.utc)


class JsonLines(Struct, frozen=True):
    """Writes each event as it comes, whole lines at a time."""

    stream: TextIO
    now: Callable[[], datetime] = _now

    def take(self, event: Event) -> None:
        """Write one event."""
        kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(event).__name__).lower()
        time = self.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.stream.write(json.dumps({"event": kind, "time": time, **to_builtins(event)}) + "\n")
        self.stream.flush()
