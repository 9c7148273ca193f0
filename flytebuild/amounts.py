"""Times and sizes for people."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """A time that is only about right, in the units that people would say it in."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def size(count: int) -> str:
    """Bytes, in units of 1000."""
    amount, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.1f} {unit}" if unit != "B" else f"{count} B"
