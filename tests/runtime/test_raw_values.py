"""Values as raw containers read and write them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from flyteidl2.core.literals_pb2 import Literal, Primitive

from flytebuild.runtime.raw_values import literal, text


def duration(span: timedelta) -> Primitive:
    made = Primitive()
    made.duration.FromTimedelta(span)
    return made


def at(moment: datetime) -> Primitive:
    made = Primitive()
    made.datetime.FromDatetime(moment)
    return made


NOON = datetime(2026, 1, 31, 12, 0, 0, 250_000, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Primitive(integer=-7), "-7"),
        (Primitive(float_value=0.1), "0.1"),
        (Primitive(float_value=3.0), "3"),
        (Primitive(float_value=1e22), "10000000000000000000000"),
        (Primitive(string_value=" as it is\n"), " as it is\n"),
        (Primitive(boolean=True), "true"),
        (at(NOON), "2026-01-31T12:00:00.250Z"),
        (duration(timedelta(0)), "0s"),
        (duration(timedelta(hours=26, minutes=3, seconds=4.5)), "26h3m4.5s"),
        (duration(timedelta(minutes=100)), "1h40m0s"),
        (duration(timedelta(milliseconds=1.5)), "1.5ms"),
        (duration(timedelta(microseconds=3)), "3µs"),
        (duration(-timedelta(seconds=2)), "-2s"),
        (Primitive(), "null"),
    ],
)
def test_what_a_container_reads(value: Primitive, expected: str) -> None:
    """The forms are Go's, for the programs that write them on a cluster are written in Go."""
    assert text(value) == expected


@pytest.mark.parametrize(
    ("simple", "written", "expected"),
    [
        ("INTEGER", "12\n", Primitive(integer=12)),
        ("FLOAT", " 1e-3", Primitive(float_value=0.001)),
        ("STRING", "two\nlines\n", Primitive(string_value="two\nlines\n")),
        ("BOOLEAN", "True\n", Primitive(boolean=True)),
        ("BOOLEAN", "0", Primitive(boolean=False)),
        ("DATETIME", "2026-01-31T12:00:00.250000999Z\n", at(NOON)),
        ("DATETIME", "2026-01-31T13:00:00.250000+01:00", at(NOON)),
        ("DURATION", "1h0m1.5s", duration(timedelta(hours=1, seconds=1.5))),
        ("DURATION", "-2ms", duration(-timedelta(milliseconds=2))),
        ("DURATION", "1 day, 2:03:04.5", duration(timedelta(days=1, hours=2, minutes=3, seconds=4.5))),
    ],
)
def test_what_a_container_wrote(simple: str, written: str, expected: Primitive) -> None:
    assert literal(simple, written).scalar.primitive == expected


def test_what_is_no_primitive() -> None:
    assert literal("STRUCT", '{"a": [1]}').scalar.generic["a"][0] == 1
    assert literal("NONE", "whatever").scalar.HasField("none_type")


@pytest.mark.parametrize(
    ("simple", "written"),
    [
        ("INTEGER", "twelve"),
        ("BOOLEAN", "yes"),
        ("DURATION", "soon"),
        ("DATETIME", "noon"),
        ("STRUCT", "[1]"),
        ("BINARY", "x"),
    ],
)
def test_what_is_not_what_it_should_be(simple: str, written: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        literal(simple, written)


@pytest.mark.parametrize("span", [timedelta(days=3, microseconds=7), timedelta(0), -timedelta(minutes=1)])
def test_a_duration_survives_the_way_in_and_out(span: timedelta) -> None:
    assert literal("DURATION", text(duration(span))) == Literal(scalar={"primitive": duration(span)})
