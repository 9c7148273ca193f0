"""Values that carry notes, such as where they were written: what two equal ones may differ in."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Any, ClassVar

from msgspec import Struct


class Noted(Struct, frozen=True, eq=False):
    """A value that is equal to another, and hashed, by its fields without those that its class lists in `NOTES`."""

    NOTES: ClassVar[tuple[str, ...]] = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        meaning = _meaning(type(self))
        return bool(meaning(self) == meaning(other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(_meaning(type(self))(self))


@cache
def _meaning(kind: type[Noted]) -> Callable[[object], Any]:
    return attrgetter(*(name for name in kind.__struct_fields__ if name not in kind.NOTES))
