"""The layers of an image that install packages of Python: what each of them asks, and why some cannot be locked. Pure.

A layer's fingerprint is all that decides its versions but for what indexes offer: the base, the platform, the Python,
and every such layer up to it. Layers of different images that have one fingerprint have one answer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from msgspec import Struct

from flytebuild.spec.canonical import Document, encode
from flytebuild.spec.layers import (
    Asked,
    Command,
    Copy,
    LayerSpec,
    PipPackages,
    PixiProject,
    PoetryProject,
    Requirements,
    UvProject,
    Venv,
    Wheels,
)
from flytebuild.spec.model import ImageSpec
from flytebuild.spec.normalise import is_requirement
from flytebuild.spec.prefix import VENV
from flytebuild.spec.step import Step
from flytebuild.wheels import arguments, projects
from flytebuild.wheels.arguments import Arguments, NotLockableError

Installing: TypeAlias = Asked | PoetryProject | PixiProject

_INSTALLS = re.compile(
    r"\b(?:pip3?|uv|conda|mamba|micromamba|poetry|pdm|pixi|setup\.py|easy_install)\b|site-packages|" + re.escape(VENV)
)
"""What a command has in it that may install packages, or change those that are installed."""

_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
_DECIDING = (*_INDEXES, "UV_INDEX_STRATEGY", "UV_PRERELEASE", "UV_RESOLUTION", "UV_EXCLUDE_NEWER")
"""Variables of the image's that decide versions, and are given to the resolver as they are."""

_HARMLESS = re.compile(r"UV_(?:PYTHON|LINK_MODE|COMPILE_BYTECODE|NO_PROGRESS|HTTP_\w+|CONCURRENT_\w+|REQUEST_\w+)")


class Question(Struct, frozen=True):
    """One installing layer: `number` is its place among the image's steps, `below` the fingerprints under its own.

    Where it cannot be locked `reason` says why, as half a sentence.
    """

    number: int
    step: Step
    fingerprint: str
    below: tuple[str, ...]
    reason: str = ""

    @property
    def layer(self) -> LayerSpec:
        return self.step.layer

    @property
    def arguments(self) -> Arguments:
        """What the layer tells uv of packages; a project tells it all in its files.

        Raises NotLockableError where the layer has a `reason`.
        """
        return _arguments(self.layer)

    @property
    def variables(self) -> Mapping[str, str]:
        """Variables of the image's that decide versions."""
        return {name: value for name, value in self.step.context.env if name in _DECIDING and value}

    @property
    def shown(self) -> str:
        """The layer for messages: what it is, and where it is written."""
        origin = f" ({self.step.origin})" if self.step.origin else ""
        return f"`{self.layer.summary}`{origin}"


def questions(spec: ImageSpec) -> tuple[Question, ...]:
    """The installing layers of an image in their order; none where a Dockerfile makes it, or its base is not known."""
    return tuple(_questions(spec)) if spec.base and spec.base.digest else ()


def _questions(spec: ImageSpec) -> Iterator[Question]:
    assert spec.base is not None  # noqa: S101 - the caller has looked
    python = next((step.layer.python for step in spec.steps if isinstance(step.layer, Venv)), "")
    start: Document = {"base": spec.base.digest or "", "platform": str(spec.platform), "python": python}
    parent, below, blocked = _hash(start), tuple[str, ...](), ""
    for number, step in enumerate(spec.steps):
        match step.layer:
            case Command() | Copy():
                blocked = blocked or _interference(step)
                continue
            case PipPackages(requirements=()) if not step.layer.options.extra_args:
                continue
            case PipPackages() | Requirements() | Wheels() | UvProject() | PoetryProject() | PixiProject():
                pass
            case _:
                continue
        variables = {name: value for name, value in step.context.env if name in _DECIDING and value}
        layer: Document = {"kind": step.layer.kind, "spec": step.layer.fields(), "variables": variables}
        reason = blocked or _obstacle(step)
        # What cannot be locked in one image is another question than what can be in the next.
        fingerprint = _hash({"below": parent, "layer": layer, **({"reason": reason} if reason else {})})
        yield Question(number, step, fingerprint, below, reason)
        if reason and not blocked:
            blocked = f"`{step.layer.summary}` below it is not locked"
        parent, below = fingerprint, (*below, fingerprint)


def _hash(document: Document) -> str:
    return hashlib.sha256(encode(document)).hexdigest()[:32]


def _arguments(layer: LayerSpec) -> Arguments:
    return arguments.read(layer.options) if isinstance(layer, PipPackages | Requirements) else Arguments()


def _interference(step: Step) -> str:
    """Why it is not known what is installed above a step that is no installing layer."""
    match step.layer:
        case Command(shell=text, args=words) if _INSTALLS.search(text or " ".join(words)):
            return f"`{step.layer.summary}` below it may install packages"
        case Copy(destination=place) if place == VENV or place.startswith(f"{VENV}/"):
            return f"`{step.layer.summary}` below it may change what is installed"
        case _:
            return ""


def _obstacle(step: Step) -> str:
    """Why a layer cannot be locked, as far as that is known before anything is looked up."""
    match step.layer:
        case PipPackages(requirements=texts):
            for text in texts:
                if not is_requirement(text) or " @ " in text:
                    return f"`{text}` is not a version of an index"
        case Requirements():
            pass
        case Wheels():
            return "its folder of wheels says which version it is"
        case UvProject() as project:
            if reason := projects.obstacle(project):
                return reason
        case PoetryProject():
            return "it is a project of Poetry, which has a lock of its own"
        case _:
            return "it is a project of pixi, which has a lock of its own"
    env = dict(step.context.env)
    if env.get("UV_PYTHON") != f"{VENV}/bin/python":
        return f"it is installed into `{env.get('UV_PYTHON')}`"
    if isinstance(step.layer, UvProject) and (place := env.get("VIRTUAL_ENV") or env.get("VIRTUALENV")) != VENV:
        return f"it is installed into `{place}`"
    for name in sorted(env):
        if name.startswith("UV_") and name not in _DECIDING and not _HARMLESS.fullmatch(name):
            return f"what the variable `{name}` does is known only while the image is built"
    try:
        _arguments(step.layer)
    except NotLockableError as error:
        return str(error)
    return ""
