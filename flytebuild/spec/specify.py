"""From what the user asked for, and what its bases turned out to be, to the exact image.

The order of things is that of Flyte's own builder: the `uv` binary, its environment variables, a virtual environment,
the user's layers, all of them run as root. Settings are folded into what later steps see, paths become absolute.
`docs/spec.md` lists where we differ from Flyte's builder, and why.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from flytebuild.errors import UnsupportedImageError
from flytebuild.spec.expand import ExpansionError, expand
from flytebuild.spec.images import Platform, ResolvedImage, RuntimeConfig
from flytebuild.spec.layers import Binary, Command, Copy, Folder, LayerSpec, PixiProject, Venv
from flytebuild.spec.model import (
    DockerfileDefinition,
    ImageDefinition,
    ImageSpec,
    Placed,
    RunAs,
    SetEnv,
    SetLabels,
    SetWorkDir,
    Step,
)

UV_IMAGE = "ghcr.io/astral-sh/uv:0.13.4"
"""Where the `uv` binary comes from; the version that flyte 2.12's own builder uses."""

PIXI_IMAGE = "ghcr.io/prefix-dev/pixi:0.72.2"
"""Where the `pixi` binary comes from, for images with pixi layers; again the version of flyte 2.12's builder."""

VENV = "/opt/venv"
PIXI_PROJECT = "/opt/pixi-project"
NVIDIA_PATH = "/usr/local/nvidia/bin:/usr/local/cuda/bin"
NVIDIA_LIBRARIES = "/usr/local/nvidia/lib64"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def images_needed(definition: ImageDefinition | DockerfileDefinition) -> frozenset[str]:
    """The references that must be resolved before `specify`."""
    if isinstance(definition, DockerfileDefinition):
        return frozenset(definition.images)
    has_pixi = any(isinstance(placed.part, PixiProject) for placed in definition.parts)
    return frozenset({definition.base, UV_IMAGE}) | (frozenset({PIXI_IMAGE}) if has_pixi else frozenset())


def specify(
    definition: ImageDefinition | DockerfileDefinition, platform: Platform, images: Mapping[str, ResolvedImage]
) -> ImageSpec:
    """Pin a definition for one platform. `images` holds what `images_needed` asks for.

    Raises UnsupportedImageError when the definition or an image that it needs is not meant for that platform, or a
    value cannot be expanded.
    """
    if platform not in definition.platforms:
        wanted = ", ".join(f"`{item}`" for item in definition.platforms)
        raise UnsupportedImageError(
            f"The {_place(definition)} is for {wanted}, not for `{platform}`",
            hint=f"add `{platform}` to the image's `platform`, or use an engine of that platform",
        )
    for name in sorted(images_needed(definition)):
        if images[name].is_for_others:
            raise UnsupportedImageError(
                f"The {_place(definition)} cannot be made for `{platform}`: {images[name].problem}",
                hint="use an image that is there for that platform, or build for another one",
            )
    if isinstance(definition, DockerfileDefinition):
        dockerfile = replace(definition.dockerfile, images=tuple(images[name] for name in definition.images))
        return ImageSpec(
            name=definition.name,
            registry=definition.registry,
            platform=platform,
            base=None,
            steps=(Step(dockerfile, RuntimeConfig(), definition.origin),),
            config=RuntimeConfig(),
            roots=definition.roots,
        )
    base = images[definition.base]
    if base.on_build:
        raise UnsupportedImageError(
            f"The {_place(definition)} starts from `{base.reference}`, which has `ONBUILD` instructions for it "
            f"(`{base.on_build[0]}`), and only a Dockerfile can run them",
            hint="start from an image without them, or use `flyte.Image.from_dockerfile`",
        )
    steps = _prologue(base.config, images[UV_IMAGE], definition.python)
    fold = _Fold(images, definition.environment, base.config.user, steps[-1].context, list(steps))
    for placed in definition.parts:
        fold.add(placed)
    return ImageSpec(
        name=definition.name,
        registry=definition.registry,
        platform=platform,
        base=base,
        steps=tuple(fold.steps),
        config=_changed(fold.context, user=fold.user),
        roots=definition.roots,
    )


@lru_cache(maxsize=256)
def _prologue(config: RuntimeConfig, uv: ResolvedImage, python: str) -> tuple[Step, ...]:
    """What every image starts with; the last step sees what the user's layers see."""
    base, before = dict(config.env), replace(config, user="root")
    libraries = base.get("LD_LIBRARY_PATH", "")
    if NVIDIA_LIBRARIES not in libraries.split(":"):
        libraries = f"{libraries}:{NVIDIA_LIBRARIES}" if libraries else NVIDIA_LIBRARIES
    env = {
        "UV_COMPILE_BYTECODE": "1",
        "UV_LINK_MODE": "copy",
        "VIRTUALENV": VENV,
        "UV_PYTHON": f"{VENV}/bin/python",
        "PATH": f"{VENV}/bin:{base.get('PATH', DEFAULT_PATH)}:{NVIDIA_PATH}",
        "LD_LIBRARY_PATH": libraries,
    }
    after = replace(before, env=(*before.env, *env.items()))
    return Step(Binary("uv", uv, "/uv", "/usr/bin/uv"), before), Step(Venv(python, VENV), after)


@lru_cache(maxsize=1024)
def _changed(context: RuntimeConfig, **fields: Any) -> RuntimeConfig:
    """`context` with other fields; remembered, since the images of a plan mostly set the same."""
    return replace(context, **fields)


def _place(definition: ImageDefinition | DockerfileDefinition) -> str:
    """An image by where its author finds it."""
    whose = (
        f"image of environment `{definition.environment}`" if definition.environment else f"image `{definition.name}`"
    )
    return whose + (f" ({definition.origin})" if definition.origin else "")


@dataclass
class _Fold:
    """The image as it grows: `context` is what the next step sees, `user` what containers will run as."""

    images: Mapping[str, ResolvedImage]
    environment: str
    user: str
    context: RuntimeConfig
    steps: list[Step]

    def add(self, placed: Placed) -> None:
        match placed.part:
            case SetEnv(pairs=pairs):
                for name, value in pairs:
                    self._set(**{name: self._expand(value, f"the value of `{name}`", placed.origin)})
            case SetWorkDir(path=path):
                expanded = self._expand(path, f"the path `{path}`", placed.origin)
                self._enter(self._absolute(expanded), placed.origin)
            case SetLabels(pairs=pairs):
                self.context = _changed(self.context, labels=(*self.context.labels, *pairs))
            case RunAs(user=user):
                self.user = user
            case Copy() as layer:
                expanded = self._expand(layer.destination, f"the path `{layer.destination}`", placed.origin)
                into = layer.into or expanded.endswith("/")
                self._step(replace(layer, destination=self._absolute(expanded), into=into), placed.origin)
            case Command(shell=text) as layer if text and self.context.shell:
                self._step(replace(layer, shell="", args=(*self.context.shell, text)), placed.origin)
            case PixiProject() as layer:
                self._pixi(layer, placed.origin)
            case layer:
                self._step(layer, placed.origin)

    def _pixi(self, layer: PixiProject, origin: str) -> None:
        """The environment of pixi takes the virtual environment's place, for later layers and for tasks."""
        binary = Binary("pixi", self.images[PIXI_IMAGE], "/usr/local/bin/pixi", "/usr/local/bin/pixi")
        if not any(step.layer == binary for step in self.steps):
            self._step(binary, origin)
        self._step(layer, origin)
        environment = f"{PIXI_PROJECT}/.pixi/envs/{layer.environment}"
        self._set(
            VIRTUAL_ENV=environment,
            UV_PYTHON=f"{environment}/bin/python",
            PIXI_PROJECT_MANIFEST=f"{PIXI_PROJECT}/{layer.manifest}",
            PATH=f"{environment}/bin:{dict(self.context.env)['PATH']}",
        )

    def _enter(self, path: str, origin: str) -> None:
        if path != "/":
            # Tasks unpack their code where they start, so the folder is theirs.
            self._step(Folder(path, self.user), origin)
        self.context = _changed(self.context, workdir=path)

    def _absolute(self, path: str) -> str:
        joined = posixpath.join(self.context.workdir, path)
        # POSIX leaves it open what two slashes at the start mean; here they are one.
        return posixpath.normpath("/" + joined.lstrip("/"))

    def _expand(self, text: str, what: str, origin: str) -> str:
        try:
            return expand(text, dict(self.context.env))
        except ExpansionError as error:
            whose = f" of environment `{self.environment}`" if self.environment else ""
            where = f" ({origin})" if origin else ""
            raise UnsupportedImageError(
                f"`{error}` in {what}{whose} cannot be expanded{where}",
                hint="use `$NAME`, `${NAME}`, `${NAME:-default}` or `${NAME:+value}`; write `\\$` for a dollar sign",
            ) from error

    def _set(self, /, **pairs: str) -> None:
        self.context = _changed(self.context, env=(*self.context.env, *pairs.items()))

    def _step(self, layer: LayerSpec, origin: str = "") -> None:
        self.steps.append(Step(layer, self.context, origin))
