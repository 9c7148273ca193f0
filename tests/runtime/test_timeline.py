"""The parts of an attempt's time, as bars."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

from flytebuild.runtime.model import Attempt, Phase, Transition
from flytebuild.runtime.web.timeline import draw
from tests.runtime import samples


def parts(heard: float | None, last: Phase, *, pulled: float | None = None, begun: float | None = None) -> list[str]:
    """The bars of a run's second action, in their order; times are in seconds after it was asked for."""
    steps = ((Phase.QUEUED, 0.0), (Phase.INITIALIZING, 1.0), (Phase.RUNNING, 2.0), (last, 10.0))
    transitions = tuple(Transition(phase, samples.NOW + timedelta(seconds=at)) for phase, at in steps)
    pulled_at, begun_at, heard_at = (
        None if at is None else samples.NOW + timedelta(seconds=at) for at in (pulled, begun, heard)
    )
    end = samples.NOW + timedelta(seconds=10)
    root = replace(samples.action(), created=samples.NOW)
    child = replace(
        samples.action("c1", "a0"),
        created=samples.NOW,
        ended=end,
        phase=last,
        attempts=(Attempt(1, "s3://x", transitions, pulled=pulled_at, begun=begun_at, heard=heard_at),),
    )
    drawing = draw([root, child], end).partition("</svg><figcaption>")[0]
    return re.findall(r"class='bar (\w+)'", drawing)


def test_imports_end_with_the_first_request() -> None:
    assert parts(4.0, Phase.SUCCEEDED) == ["waited", "started", "imported", "ran"]
    assert parts(4.0, Phase.FAILED) == ["waited", "started", "imported", "failed"]


def test_what_was_aborted_has_not_failed() -> None:
    assert parts(4.0, Phase.ABORTED) == ["waited", "started", "imported", "aborted"]
    assert parts(4.0, Phase.TIMED_OUT) == ["waited", "started", "imported", "failed"]


def test_without_a_request_nothing_is_known_of_imports() -> None:
    assert parts(None, Phase.SUCCEEDED) == ["waited", "started", "ran"]


def test_requests_outside_of_the_time_that_it_ran_do_no_harm() -> None:
    assert parts(1.0, Phase.SUCCEEDED) == parts(99.0, Phase.SUCCEEDED) == ["waited", "started", "imported", "ran"]


def test_an_image_that_was_pulled_and_a_turn_that_was_waited_for_are_told_apart_from_the_start() -> None:
    assert parts(4.0, Phase.SUCCEEDED, pulled=1.5, begun=1.5) == ["waited", "pulled", "started", "imported", "ran"]
    assert parts(4.0, Phase.SUCCEEDED, begun=1.5) == ["waited", "waited", "started", "imported", "ran"]
    expected = ["waited", "pulled", "waited", "started", "imported", "ran"]
    assert parts(4.0, Phase.SUCCEEDED, pulled=1.2, begun=1.5) == expected
