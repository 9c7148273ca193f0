"""What is left of time limits, across control planes."""

from __future__ import annotations

from datetime import datetime

from flytebuild.runtime.model import ActionKey, now


class Limits:
    """The limits of actions. Those of `resumed` ones began in an earlier process, whose clock is not this one's."""

    def __init__(self) -> None:
        self.resumed: set[ActionKey] = set()

    def left(self, limit: float, key: ActionKey, since: datetime | None) -> float | None:
        """What is left of a limit, in seconds; None for a limit of 0.

        The clock on the wall counts only for what an earlier process began: it may step.
        """
        if not limit:
            return None
        elapsed = (now() - since).total_seconds() if since and key in self.resumed else 0.0
        return max(limit - max(elapsed, 0.0), 0.001)
