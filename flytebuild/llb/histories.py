"""What histories of images say of the layers that we make: BuildKit has its own words for them."""

from __future__ import annotations

from flytebuild.llb.lower import lower
from flytebuild.llb.marshal import in_order
from flytebuild.spec.layers import LayerSpec, Pinned, WheelLayer
from flytebuild.spec.model import ImageSpec

_EXECUTED = "mount / from exec "
"""What comes before the command of a step that is executed (BuildKit's `solver/llbsolver/ops/exec.go`)."""


def steps_told(spec: ImageSpec) -> dict[str, list[str]]:
    """What the plan calls an image's steps and wheel layers, the lowest first, by what its history says of them.

    Commands of several steps may be the same. What copies files is called by its own name in histories. Nothing is
    known of an image by a Dockerfile, whose history is its own.
    """
    if spec.base is None:
        return {}
    wheels = {layer.step: layer.summary for step in spec.steps for layer in _wheel_layers(step.layer)}
    found: dict[str, list[str]] = {}
    for vertex in in_order(lower(spec)):
        if vertex.operation.WhichOneof("op") == "exec":
            told = _EXECUTED + " ".join(vertex.operation.exec.meta.args)
            found.setdefault(told, []).append(wheels.get(vertex.name, vertex.name))
    return found


def _wheel_layers(layer: LayerSpec) -> tuple[WheelLayer, ...]:
    return layer.layers if isinstance(layer, Pinned) else ()
