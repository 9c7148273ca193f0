"""What histories of images say of the layers that we make: BuildKit has its own words for them."""

from __future__ import annotations

from collections.abc import Mapping

from flytebuild.llb.lower import lower
from flytebuild.llb.marshal import in_order
from flytebuild.llb.state import State
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
    wheels = _wheels(spec)
    found: dict[str, list[str]] = {}
    for vertex in in_order(lower(spec)):
        if vertex.operation.WhichOneof("op") == "exec":
            told = _EXECUTED + " ".join(vertex.operation.exec.meta.args)
            found.setdefault(told, []).append(wheels.get(vertex.name, vertex.name))
    return found


def layers_upon_base(spec: ImageSpec) -> tuple[str, ...]:
    """What the plan calls the layers that lie on an image's base, the lowest first, whatever its history says.

    Nothing is known of an image by a Dockerfile.
    """
    if spec.base is None:
        return ()
    wheels = _wheels(spec)
    return tuple(wheels.get(name, name) for name in _upon_source(lower(spec), {}))


def _upon_source(state: State, known: dict[State, tuple[str, ...]]) -> tuple[str, ...]:
    """The names of the vertices that made the layers of a file system, but for those of the source that it begins with.

    Of each operation that is one of ours, one layer comes; `known` has what was found before.
    """
    if state not in known:
        vertex = state.vertex
        match vertex.operation.WhichOneof("op"):
            case "merge":
                found = tuple(name for item in vertex.inputs for name in _upon_source(item, known))
            case "diff":
                lower, upper = (_upon_source(item, known) for item in vertex.inputs)
                found = upper[len(lower) :]
            case "exec":
                (mount,) = (item for item in vertex.operation.exec.mounts if item.output == state.index)
                found = (*_upon_input(state, mount.input, known), vertex.name)
            case "file":
                found = (*_upon_input(state, vertex.operation.file.actions[0].input, known), vertex.name)
            case _:
                found = ()
        known[state] = found
    return known[state]


def _upon_input(state: State, number: int, known: dict[State, tuple[str, ...]]) -> tuple[str, ...]:
    """The same of an operation's input of this number; a negative one is an empty file system."""
    return () if number < 0 else _upon_source(state.vertex.inputs[number], known)


def _wheels(spec: ImageSpec) -> Mapping[str, str]:
    """What plans call wheel layers, by the names of the steps that make them."""
    return {layer.step: layer.summary for step in spec.steps for layer in _wheel_layers(step.layer)}


def _wheel_layers(layer: LayerSpec) -> tuple[WheelLayer, ...]:
    return layer.layers if isinstance(layer, Pinned) else ()
