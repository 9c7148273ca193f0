"""How pinned packages get into an image: as layers that images share if that comes to the same, else by a step. Pure.

What a step could see or do, and a layer made apart from the image cannot, is an obstacle; each has its sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from msgspec.structs import replace

from flytebuild.spec.images import Platform, ResolvedImage, RuntimeConfig
from flytebuild.spec.layers import Pin, Pinned, PipPackages, WheelLayer
from flytebuild.spec.model import ImageSpec
from flytebuild.spec.prefix import UV_IMAGE, VENV
from flytebuild.spec.requirement import parse
from flytebuild.spec.step import Step
from flytebuild.wheels.partition import Declared, Group, partition

_GIVEN = {"UV_COMPILE_BYTECODE": "1", "UV_LINK_MODE": "copy", "UV_PYTHON": f"{VENV}/bin/python"}
"""Variables of every image that say how wheels are installed; wheel layers are made by them."""

_TELLING = ("UV_COMPILE_BYTECODE", "UV_NO_INSTALLER_METADATA", "PYC_INVALIDATION_MODE", "PYTHONPYCACHEPREFIX")
"""Variables that make an installation another one."""


def tool_of(python: str) -> str:
    """The image that makes wheel layers for a Python (`3.11`): uv's own with one, whose tag stays where it is."""
    return f"{UV_IMAGE}-python{python}-trixie-slim"


def tools_needed(spec: ImageSpec) -> frozenset[str]:
    """The references that must be resolved before `with_wheel_layers`."""
    return frozenset(tool_of(layer.python) for layer in _pinned(spec) if layer.python and layer.pins)


def with_wheel_layers(spec: ImageSpec, tools: Mapping[str, ResolvedImage]) -> ImageSpec:
    """The image with wheel layers where its packages are pinned; layers that stay a step get the reason why.

    `tools` has what `tools_needed` asks for.
    """
    steps = [part for step in spec.steps for part in _parts(step, tools)]
    shared = {
        number: step.layer
        for number, step in enumerate(steps)
        if isinstance(step.layer, Pinned) and step.layer.pins and not step.layer.reason
    }
    apart = [place for place, number in enumerate(shared) if number - 1 not in shared]
    groups = partition([Declared(layer.pins, _named(layer)) for layer in shared.values()], apart=apart)
    for (number, layer), found in zip(shared.items(), groups, strict=True):
        made = _layers(layer, found, tools, spec.platform)
        steps[number] = replace(steps[number], layer=replace(layer, recipe="layers", layers=made))
    return replace(spec, steps=tuple(steps))


def _parts(step: Step, tools: Mapping[str, ResolvedImage]) -> tuple[Step, ...]:
    """A step, or two of them where only some packages replace others: those have a step of their own, with a reason.

    That is below the wheel layers: these stay as they are when it changes, and nobody looks into them for it. One step
    for everything also removes all that is replaced before it installs anything, so a file that has moved from one
    package to another is there either way.
    """
    layer = step.layer
    if not isinstance(layer, Pinned) or not layer.pins:
        return (step,)
    replacing = tuple(pin for pin in layer.pins if pin.name in layer.replaces)
    added = tuple(pin for pin in layer.pins if pin not in replacing)
    why = f"it replaces {_listed([f'`{name}`' for name in layer.replaces])} of what is below" if replacing else ""
    rest = replace(layer, pins=added, replaces=())
    reason = _obstacle(rest, step.context, tools) if added else why
    if reason or not replacing:
        return (replace(step, layer=replace(layer, reason=reason)),)
    names = _listed([pin.name for pin in replacing])
    below = replace(layer, pins=replacing, asked=None, reason=why, part=f"{layer.summary} (only {names})")
    return replace(step, layer=below), replace(step, layer=replace(rest, part=f"{layer.summary} (all but {names})"))


def _pinned(spec: ImageSpec) -> Sequence[Pinned]:
    return [step.layer for step in spec.steps if isinstance(step.layer, Pinned)]


def _named(layer: Pinned) -> frozenset[str]:
    """The packages that a layer asks for by name; of a requirements file that is not looked at."""
    texts = layer.asked.requirements if isinstance(layer.asked, PipPackages) else ()
    return frozenset(found.name for found in map(parse, texts) if found)


def _layers(
    layer: Pinned, groups: Sequence[Group], tools: Mapping[str, ResolvedImage], platform: Platform
) -> tuple[WheelLayer, ...]:
    return tuple(WheelLayer(pins, tools[tool_of(layer.python)], layer.python, platform, VENV) for pins in groups)


def _obstacle(layer: Pinned, context: RuntimeConfig, tools: Mapping[str, ResolvedImage]) -> str:
    """Why a layer stays a step, as half a sentence, or nothing."""
    if not layer.python:
        return "it is not known which Python it is for"
    if layer.options.secrets:
        return "its index wants a secret"
    if layer.obstacle:
        return layer.obstacle
    for pin in layer.pins:
        if reason := _unreachable(pin):
            return reason
    env = dict(context.env)
    for name in _TELLING:
        if env.get(name, "") != _GIVEN.get(name, ""):
            return f"the image sets `{name}`"
    tool = tools[tool_of(layer.python)]
    return "" if tool.is_resolved else f"`{tool.reference}`, which makes wheel layers, is not known: {tool.problem}"


def _unreachable(pin: Pin) -> str:
    """Why a builder does not get a wheel by itself."""
    address = urlsplit(pin.url)
    if not pin.filename.endswith(".whl"):
        return f"`{pin.filename}` is no wheel"
    if address.scheme not in ("http", "https"):
        return f"`{pin.filename}` is not on the network"
    return f"`{address.hostname}` wants credentials" if address.username is not None else ""


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")
