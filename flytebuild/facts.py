"""What was found out about an image outside: three values, and never a guess."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct


class Present(Struct, frozen=True):
    """It is there, with this manifest or image digest."""

    digest: str


class Absent(Struct, frozen=True):
    """Whoever would know says that it is not there."""


class Unknown(Struct, frozen=True):
    """It could not be found out. `is_unreachable` tells that whoever would know cannot even be connected to."""

    reason: str
    is_unreachable: bool = False


Fact: TypeAlias = Present | Absent | Unknown
