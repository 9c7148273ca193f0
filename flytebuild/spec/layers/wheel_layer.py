"""Layers of wheels that belong to no image: made once, and shared by all images that have the same wheels."""

from __future__ import annotations

from msgspec import Struct

from flytebuild.spec.canonical import SCHEMA, Document, Value, digest
from flytebuild.spec.images import Platform, ResolvedImage
from flytebuild.spec.layers.pin import Pin

EMITTER = 3
"""The version of its translation to BuildKit: raised when the same fields come to mean other bytes."""

_NAMED = 3


class WheelLayer(Struct, frozen=True):
    """What these wheels add to an empty virtual environment in `folder`: of a file of several the last one's is there.

    `tool` is the image that installs them: it has uv and the Python `python` (`3.11`) that compiles their bytecode.
    Nothing of the images that have the layer, and no other layer of theirs, is seen by it.
    """

    pins: tuple[Pin, ...]
    tool: ResolvedImage
    python: str
    platform: Platform
    folder: str

    @property
    def summary(self) -> str:
        named = ", ".join(f"{pin.name} {pin.version}" for pin in self.pins[:_NAMED])
        rest = len(self.pins) - _NAMED
        return ("wheel" if len(self.pins) == 1 else "wheels") + f": {named}" + (f" and {rest} more" if rest > 0 else "")

    @property
    def step(self) -> str:
        """What the step is called that makes it: each Python has a layer of its own of the same wheels."""
        return f"{self.summary} (Python {self.python})"

    @property
    def size(self) -> int | None:
        """The bytes of the wheels as they are fetched; None where that of one is not known."""
        sizes = [pin.size for pin in self.pins]
        return None if None in sizes else sum(size or 0 for size in sizes)

    @property
    def key(self) -> str:
        """64 hex digits: what the layer is known by. Equal keys are equal layers, byte for byte."""
        return digest("wheels", self.document())

    def document(self) -> Document:
        """What the key is taken of."""
        wheels: list[Value] = [pin.document() for pin in self.pins]
        return {
            "emitter": EMITTER,
            "folder": self.folder,
            "platform": str(self.platform),
            "python": self.python,
            "schema": SCHEMA,
            "tool": self.tool.identity(),
            "wheels": wheels,
        }
