"""An image while it is put together: a file system, and the wheel layers that will lie on it.

They are merged with it only where something looks into them: until then nobody has to fetch or unpack them.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from flytebuild.llb.merge import merge
from flytebuild.llb.state import State
from flytebuild.llb.wheels import wheel_layer
from flytebuild.spec.layers import WheelLayer


class Stack(Struct, frozen=True):
    """What is `below`, and wheel layers, the last one uppermost."""

    below: State
    wheels: tuple[State, ...] = ()

    @property
    def whole(self) -> State:
        """All of it as one file system."""
        return merge((self.below, *self.wheels), name="wheel layers on top of the image") if self.wheels else self.below

    def with_wheels(self, layers: tuple[WheelLayer, ...]) -> Stack:
        """The same with more wheel layers on top; one that is there already stays where it is."""
        return replace(self, wheels=tuple(dict.fromkeys((*self.wheels, *map(wheel_layer, layers)))))
