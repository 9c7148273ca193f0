"""The closed set of layer specs: what one step of an image is, as a value.

`fields()` is the whole meaning of a layer: everything in it reaches the digest, and what is not in it does not. The
digest also covers the kind, the version of its translation to BuildKit (`EMITTERS`), everything below it and, for
kinds that execute something (`EXECUTING`), what the process sees: environment, working directory and user.

Files of the host are named by the digest of their tree; where they lie is not part of a spec. Paths inside an image are
absolute once `flytebuild.spec.specify` has resolved them against the working directory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from flytebuild.spec.images import ResolvedImage
from flytebuild.spec.layers.dockerfile import Dockerfile
from flytebuild.spec.layers.listed import Listed
from flytebuild.spec.layers.options import PipOptions, Secret
from flytebuild.spec.layers.packages import PipPackages, Requirements, Wheels
from flytebuild.spec.layers.pin import Pin
from flytebuild.spec.layers.pinned import Asked, Pinned, Recipe
from flytebuild.spec.layers.projects import LocalPackage, Mode, PixiProject, PoetryProject, UvProject
from flytebuild.spec.layers.system import STRICT, AptPackages, Binary, Command, Copy, Folder, Venv
from flytebuild.spec.layers.wheel_layer import WheelLayer
from flytebuild.spec.tree import Tree

__all__ = [
    "EMITTERS",
    "EXECUTING",
    "STRICT",
    "AptPackages",
    "Asked",
    "Binary",
    "Command",
    "Copy",
    "Dockerfile",
    "Folder",
    "LayerSpec",
    "Listed",
    "LocalPackage",
    "Mode",
    "Pin",
    "Pinned",
    "PipOptions",
    "PipPackages",
    "PixiProject",
    "PoetryProject",
    "Recipe",
    "Requirements",
    "Secret",
    "UvProject",
    "Venv",
    "WheelLayer",
    "Wheels",
    "folder_of",
    "images_of",
    "listed_of",
    "secrets_of",
    "sees_environment",
    "trees_of",
]

LayerSpec: TypeAlias = (
    Binary
    | Venv
    | PipPackages
    | Requirements
    | Wheels
    | Pinned
    | UvProject
    | PoetryProject
    | PixiProject
    | AptPackages
    | Command
    | Copy
    | Folder
    | Dockerfile
)

EMITTERS = {
    "uv": 1,
    "pixi": 1,
    "venv": 1,
    "pip": 2,
    "requirements": 3,
    "wheels": 2,
    "pinned": 1,
    "uv-project": 3,
    "poetry-project": 3,
    "pixi-project": 1,
    "apt": 3,
    "command": 1,
    "copy": 2,
    "folder": 2,
    "dockerfile": 2,
}
"""The version of each kind's translation to LLB: raised when the same fields come to mean other bytes."""

EXECUTING = frozenset(EMITTERS) - {"uv", "pixi", "copy", "folder", "dockerfile"}
"""The kinds that run a process, and therefore see the environment."""


def sees_environment(layer: LayerSpec) -> bool:
    """Whether a layer's process sees the image's environment; wheel layers are made apart from any image."""
    return layer.kind in EXECUTING and not (isinstance(layer, Pinned) and layer.layers)


def trees_of(layer: LayerSpec) -> Iterator[Tree]:
    """The trees whose files a layer needs from the host."""
    for name in ("tree", "file"):
        tree = getattr(layer, name, None)
        if isinstance(tree, Tree):
            yield tree
    for package in getattr(layer, "packages", ()):
        if isinstance(package, LocalPackage):
            yield package.tree


def listed_of(layer: LayerSpec) -> tuple[Listed, ...]:
    """The packages that a layer asks for, by itself or in files; of a pinned layer those of the one that was asked for.

    Nothing where that is not known.
    """
    match layer:
        case PipPackages(requirements=texts):
            return tuple(map(Listed, texts))
        case Requirements() | UvProject() | PoetryProject():
            return layer.listed
        case Pinned(asked=asked) if asked:
            return listed_of(asked)
        case _:
            return ()


def folder_of(layer: LayerSpec) -> str:
    """How the paths of a layer's files begin on the host, seen from the current folder; nothing if not known."""
    return layer.folder if isinstance(layer, Copy) else ""


def secrets_of(layer: LayerSpec) -> tuple[Secret, ...]:
    """The secrets that a layer's steps are given."""
    options = getattr(layer, "options", None)
    secrets: tuple[Secret, ...] = options.secrets if isinstance(options, PipOptions) else getattr(layer, "secrets", ())
    return secrets


def images_of(layer: LayerSpec) -> tuple[ResolvedImage, ...]:
    """The images that a layer takes files from."""
    match layer:
        case Binary(image=image):
            return (image,)
        case Dockerfile(images=images, frontend=frontend):
            return (*images, frontend) if frontend else images
        case Pinned(layers=layers):
            return tuple(dict.fromkeys(item.tool for item in layers))
        case _:
            return ()
