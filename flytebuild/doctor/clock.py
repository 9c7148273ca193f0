"""Clocks elsewhere against ours: tokens, certificates and caches that expire go by them."""

from __future__ import annotations

import email.utils
import time

from flytebuild.doctor.check import Check, ok, unknown, warning

_TOLERATED = 30
"""Seconds; tokens are given out for minutes."""


def examine_clock(subject: str, date: str | None, asked: float, answered: float) -> Check:
    """Judge the `Date` of an HTTP answer (RFC 9110 section 6.6.1) by when we asked and had it, in seconds of our clock.

    It tells whole seconds, and was written at some moment between the two.
    """
    try:
        theirs = email.utils.parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return unknown(subject, "it tells no time")
    # At the least, in either case.
    behind, ahead = asked - (theirs + 1), theirs - answered
    if max(behind, ahead) <= _TOLERATED:
        return ok(subject, "as ours" if max(behind, ahead) <= 1 else f"{max(behind, ahead):.0f} s off")
    where = f"{behind:.0f} s behind" if behind > ahead else f"{ahead:.0f} s ahead of"
    shown = time.strftime("%H:%M:%S", time.gmtime(answered))
    return warning(subject, f"{where} this machine's, which says {shown} UTC", "let both be set by a time server")
