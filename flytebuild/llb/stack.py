"""An image while it is put together: a file system, and the layers made apart from it that will lie on it.

They are merged with it only where something looks into them: until then nobody has to fetch or unpack them.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from flytebuild.llb.merge import merge
from flytebuild.llb.state import State


class Stack(Struct, frozen=True):
    """What is `below`, and the layers `apart`, the last one uppermost."""

    below: State
    apart: tuple[State, ...] = ()

    @property
    def whole(self) -> State:
        """All of it as one file system."""
        return merge((self.below, *self.apart), name="layers on top of the image") if self.apart else self.below

    def with_apart(self, layers: Iterable[State]) -> Stack:
        """The same with more layers on top; one that is there already stays where it is."""
        return replace(self, apart=tuple(dict.fromkeys((*self.apart, *layers))))
