"""Packages of Python whose versions and files are decided."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from flytebuild.spec.canonical import Document, Value
from flytebuild.spec.layers.options import NO_OPTIONS, PipOptions
from flytebuild.spec.layers.packages import PipPackages, Requirements, Wheels
from flytebuild.spec.layers.projects import UvProject

if TYPE_CHECKING:
    from flytebuild.spec.layers.wheel_layer import WheelLayer

Asked: TypeAlias = PipPackages | Requirements | Wheels | UvProject
"""The kinds of layers that can be pinned."""

Recipe: TypeAlias = Literal["chain", "layers"]
"""How pins get into an image: by one step on top of what is below (`chain`), or as layers that are merged onto it."""


@dataclass(frozen=True, slots=True)
class Pin:
    """One wheel: `name` is in normal form (PEP 503), `sha256` 64 hex digits, `size` in bytes where it is known.

    `url` is where the wheel was found, without credentials; a mirror has the same wheel elsewhere.
    """

    name: str
    version: str
    filename: str
    sha256: str
    url: str = field(default="", compare=False)
    size: int | None = field(default=None, compare=False)

    def document(self) -> Document:
        return {"filename": self.filename, "name": self.name, "sha256": self.sha256, "version": self.version}


@dataclass(frozen=True, slots=True)
class Pinned:
    """What a layer adds to the environment below it, or changes there: exactly these wheels, sorted by their names.

    `asked` is the layer as the user wrote it, for messages, and `options` are those of its options that installing
    needs: indexes and their secrets. Neither is part of the digest: the same wheels are the same layer.

    `python` is the Python they are for (`3.11`), `replaces` names those that take another version's place, and
    `obstacle` is what of the base keeps them from being merged with it.

    `layers` are those that hold all pins between them where the recipe is `layers`, the last of them perhaps those of
    its neighbours as well; `reason` says why it is not.
    """

    pins: tuple[Pin, ...]
    recipe: Recipe = "chain"
    options: PipOptions = field(default=NO_OPTIONS, compare=False)
    asked: Asked | None = field(default=None, compare=False)
    python: str = field(default="", compare=False)
    replaces: tuple[str, ...] = field(default=(), compare=False)
    obstacle: str = field(default="", compare=False)
    layers: tuple[WheelLayer, ...] = ()
    reason: str = field(default="", compare=False)
    kind: ClassVar[str] = "pinned"

    @property
    def summary(self) -> str:
        """The asked layer's."""
        if self.asked:
            return self.asked.summary
        return "pip: " + (", ".join(f"{pin.name}=={pin.version}" for pin in self.pins) or "nothing")

    def fields(self) -> Document:
        pins: list[Value] = [pin.document() for pin in self.pins]
        fields: dict[str, Value] = {"pins": pins, "recipe": self.recipe}
        return fields | ({"layers": [layer.key for layer in self.layers]} if self.layers else {})
