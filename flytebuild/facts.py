"""What was found out about an image outside: three values, and never a guess."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Present:
    """It is there, with this manifest or image digest."""

    digest: str


@dataclass(frozen=True, slots=True)
class Absent:
    """Whoever would know says that it is not there."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """It could not be found out. `is_unreachable` tells that whoever would know cannot even be connected to."""

    reason: str
    is_unreachable: bool = False


Fact: TypeAlias = Present | Absent | Unknown
