"""Packages of Python whose versions and files are decided."""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

from flytebuild.noted import Noted
from flytebuild.spec.canonical import Document, Value
from flytebuild.spec.layers.options import NO_OPTIONS, PipOptions
from flytebuild.spec.layers.packages import PipPackages, Requirements, Wheels
from flytebuild.spec.layers.pin import Pin
from flytebuild.spec.layers.projects import UvProject
from flytebuild.spec.layers.wheel_layer import WheelLayer

Asked: TypeAlias = PipPackages | Requirements | Wheels | UvProject
"""The kinds of layers that can be pinned."""

Recipe: TypeAlias = Literal["chain", "layers"]
"""How pins get into an image: by one step on top of what is below (`chain`), or as layers that are merged onto it."""


class Pinned(Noted, frozen=True):
    """What a layer adds to the environment below it, or changes there: exactly these wheels, sorted by their names.

    `asked` is the layer as the user wrote it, for messages, and `options` are those of its options that installing
    needs: indexes and their secrets. Neither is part of the digest: the same wheels are the same layer.

    `python` is the Python they are for (`3.11`), `replaces` names those that take another version's place, and
    `obstacle` is what of the base or of an index keeps them from being wheel layers.

    `part` says which part of what was asked for it is, where the rest is a layer beside it.

    `layers` are those that hold all pins between them where the recipe is `layers`, the last of them perhaps those of
    its neighbours as well; `reason` says why it is not.
    """

    pins: tuple[Pin, ...]
    recipe: Recipe = "chain"
    options: PipOptions = NO_OPTIONS
    asked: Asked | None = None
    python: str = ""
    replaces: tuple[str, ...] = ()
    obstacle: str = ""
    layers: tuple[WheelLayer, ...] = ()
    reason: str = ""
    part: str = ""
    kind: ClassVar[str] = "pinned"

    NOTES = ("options", "asked", "python", "replaces", "obstacle", "reason", "part")

    @property
    def summary(self) -> str:
        """The asked layer's, or which part of it this is."""
        if self.part:
            return self.part
        if self.asked:
            return self.asked.summary
        return "pip: " + (", ".join(f"{pin.name}=={pin.version}" for pin in self.pins) or "nothing")

    def fields(self) -> Document:
        pins: list[Value] = [pin.document() for pin in self.pins]
        fields: dict[str, Value] = {"pins": pins, "recipe": self.recipe}
        return fields | ({"layers": [layer.key for layer in self.layers]} if self.layers else {})
