from __future__ import annotations

from email.utils import formatdate

import pytest

from flytebuild.doctor.clock import examine_clock

NOON = 1_700_000_000.0


@pytest.mark.parametrize(
    ("theirs", "answered", "status", "message"),
    [
        (0, 0.1, "ok", "as ours"),
        # It tells whole seconds, and the answer took its time: no more is known.
        (-1, 0.9, "ok", "as ours"),
        (10, 15, "ok", "as ours"),
        (20, 0.1, "ok", "20 s off"),
        (-21, 0.1, "ok", "20 s off"),
        (100, 0.1, "warning", "100 s ahead of this machine's"),
        (-101, 0.1, "warning", "100 s behind this machine's"),
    ],
)
def test_clocks_are_compared_with_what_can_be_known(theirs: float, answered: float, status: str, message: str) -> None:
    check = examine_clock("clock", formatdate(NOON + theirs, usegmt=True), NOON, NOON + answered)
    assert check.status == status
    assert check.message.startswith(message)


@pytest.mark.parametrize("date", [None, "", "yesterday"])
def test_who_tells_no_time(date: str | None) -> None:
    assert examine_clock("clock", date, NOON, NOON).status == "unknown"
