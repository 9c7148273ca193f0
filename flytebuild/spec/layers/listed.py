"""What files list that layers install from."""

from __future__ import annotations

from msgspec import Struct


class Listed(Struct, frozen=True):
    """One package: the requirement as it is written, or `name==version` for one of a lock.

    `path` is its file's in the layer's tree, empty where the layer lists it itself; `place` is `file:line` as the user
    calls it, or as much of it as is known.
    """

    text: str
    path: str = ""
    place: str = ""
