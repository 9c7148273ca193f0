"""The wheels of an image, as a lock or the day's answer of its indexes has them."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from flytebuild.spec.layers import Pin, Pinned
from flytebuild.spec.model import ImageSpec


class Resolved(Struct, frozen=True):
    """One wheel. `layer` is the key of the wheel layer that it is in, nothing where a step installs it.

    `asked` is the summary of the layer that the user wrote, and `origin` is `file:line`, or nothing.
    """

    pin: Pin
    layer: str
    asked: str
    origin: str


def resolution(spec: ImageSpec) -> Iterator[Resolved]:
    """The wheels of an image in the order in which they get into it; nothing of layers that are not decided."""
    for step in spec.steps:
        if isinstance(step.layer, Pinned):
            layers = {pin: layer.key for layer in step.layer.layers for pin in layer.pins}
            for pin in step.layer.pins:
                yield Resolved(pin, layers.get(pin, ""), step.layer.summary, step.origin)
