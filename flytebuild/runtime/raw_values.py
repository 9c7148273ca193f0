"""Values of raw containers as text and back, as Flyte's CoPilot and its backend write and read them: pure functions.

Source: `flytecopilot/data` and `flyteidl2/clients/go/coreutils` of flyteorg/flyte. What Python's SDK reads in its local
mode counts as well: `str(timedelta)`, and blanks around numbers.
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flyteidl2.core.literals_pb2 import Literal, Primitive
    from google.protobuf.duration_pb2 import Duration

_NANOS = {"h": 3_600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "µs": 10**3, "ns": 1}
"""Nanoseconds of what Go writes durations in."""

_SPAN = re.compile(r"([0-9.]+)(h|ms|us|µs|ns|m|s)")
_GO_DURATION = re.compile(rf"-?(?:{_SPAN.pattern})+")
_PYTHON_DURATION = re.compile(r"(?:(-?\d+) days?, )?(\d+):(\d\d):(\d\d(?:\.\d+)?)")
_WORDS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


def text(primitive: Primitive) -> str:
    """A primitive value as a file or an argument has it."""
    kind = primitive.WhichOneof("value")
    if kind is None:
        return "null"
    value = getattr(primitive, kind)
    if kind == "boolean":
        return "true" if value else "false"
    if kind == "datetime":
        return str(value.ToJsonString())
    if kind == "duration":
        return _go_duration(value)
    if kind == "float_value":
        # Decimal writes what repr does, never with an exponent.
        shown = format(Decimal(repr(value)), "f")
        return shown.removesuffix(".0")
    return str(value)


def literal(simple: str, written: str) -> Literal:
    """The value of a simple type, by the type's name in the protocol; raises ValueError for a text that is none."""
    from flyteidl2.core.literals_pb2 import Literal, Primitive, Scalar, Void

    read = _READERS.get(simple)
    if read is not None:
        return Literal(scalar=Scalar(primitive=read(Primitive(), written)))
    if simple == "NONE":
        return Literal(scalar=Scalar(none_type=Void()))
    if simple == "STRUCT":
        value = json.loads(written)
        if not isinstance(value, dict):
            raise ValueError("it is no JSON object")
        found = Literal()
        found.scalar.generic.update(value)
        return found
    raise ValueError(f"values of type {simple.lower()} cannot be read from a file")


SIMPLE_TYPES = frozenset({"NONE", "STRUCT", "INTEGER", "FLOAT", "STRING", "BOOLEAN", "DATETIME", "DURATION"})
"""The names of the types that `literal` reads."""


def _integer(made: Primitive, written: str) -> Primitive:
    made.integer = int(written.strip())
    return made


def _float(made: Primitive, written: str) -> Primitive:
    made.float_value = float(written.strip())
    return made


def _string(made: Primitive, written: str) -> Primitive:
    made.string_value = written
    return made


def _boolean(made: Primitive, written: str) -> Primitive:
    word = written.strip().lower()
    if word not in _WORDS:
        raise ValueError(f"`{word}` is neither true nor false")
    made.boolean = _WORDS[word]
    return made


def _datetime(made: Primitive, written: str) -> Primitive:
    # Python 3.10 knows neither the letter for UTC nor more digits than microseconds have.
    plain = re.sub(r"(\.\d{6})\d+", r"\1", written.strip()).replace("Z", "+00:00")
    at = datetime.fromisoformat(plain)
    made.datetime.FromDatetime(at.astimezone(timezone.utc) if at.tzinfo else at)
    return made


def _duration(made: Primitive, written: str) -> Primitive:
    made.duration.FromTimedelta(_span(written.strip()))
    return made


_READERS = {
    "INTEGER": _integer,
    "FLOAT": _float,
    "STRING": _string,
    "BOOLEAN": _boolean,
    "DATETIME": _datetime,
    "DURATION": _duration,
}


def _span(written: str) -> timedelta:
    """A duration of Go's (`1h2m3.5s`) or Python's (`1 day, 2:03:04.5`)."""
    if _GO_DURATION.fullmatch(written):
        nanos = sum((Decimal(number) * _NANOS[unit] for number, unit in _SPAN.findall(written)), Decimal(0))
        return timedelta(microseconds=int(nanos) // 1000) * (-1 if written.startswith("-") else 1)
    found = _PYTHON_DURATION.fullmatch(written)
    if found is None:
        raise ValueError(f"`{written}` is no duration")
    days, hours, minutes, seconds = found.groups()
    return timedelta(days=int(days or 0), hours=int(hours), minutes=int(minutes), seconds=float(seconds))


def _go_duration(value: Duration) -> str:
    """A duration as Go writes it, in hours, minutes and seconds with a fraction."""
    nanos = value.seconds * 10**9 + value.nanos
    sign, nanos = ("-", -nanos) if nanos < 0 else ("", nanos)
    for unit, size in (("µs", 10**3), ("ms", 10**6)):
        if 0 < nanos < size * 1000 and nanos >= size:
            return f"{sign}{_shown(Decimal(nanos) / size)}{unit}"
    if 0 < nanos < 1000:
        return f"{sign}{nanos}ns"
    minutes, rest = divmod(nanos, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{head}{_shown(Decimal(rest) / 10**9)}s"


def _shown(number: Decimal) -> str:
    return format(number.normalize(), "f")
