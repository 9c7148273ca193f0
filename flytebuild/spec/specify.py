"""From what the user asked for, and what its bases turned out to be, to the exact image.

`flytebuild.spec.prefix` has the order of things. `docs/spec.md` lists where we differ from Flyte's builder, and why.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from flytebuild.errors import UnsupportedImageError
from flytebuild.spec.expand import ExpansionError
from flytebuild.spec.images import Platform, ResolvedImage, RuntimeConfig
from flytebuild.spec.layers import Dockerfile, PixiProject
from flytebuild.spec.model import (
    DockerfileDefinition,
    ImageDefinition,
    ImageSpec,
    Part,
    RunAs,
    SetEnv,
    SetLabels,
    SetWorkDir,
)
from flytebuild.spec.prefix import PIXI_IMAGE, UV_IMAGE, Prefix
from flytebuild.spec.step import Step

_STABLE_FRONTEND = r"(?:docker\.io/)?docker/dockerfile(?::(?:latest|1(?:\.\d+)*))?"
"""What `# syntax=` names where the Dockerfile wants no more than what a builder's own frontend reads."""


def images_needed(definition: ImageDefinition | DockerfileDefinition) -> frozenset[str]:
    """The references that must be resolved before `specify`."""
    if isinstance(definition, DockerfileDefinition):
        return frozenset(definition.images)
    has_pixi = any(isinstance(placed.part, PixiProject) for placed in definition.parts)
    return frozenset({definition.base, UV_IMAGE, PIXI_IMAGE} if has_pixi else {definition.base, UV_IMAGE})


def frontends_needed(definition: ImageDefinition | DockerfileDefinition) -> frozenset[str]:
    """The references that must be resolved as they are: what they name runs on whatever platform the builder has."""
    syntax = definition.dockerfile.syntax if isinstance(definition, DockerfileDefinition) else ""
    return frozenset(syntax.split()[:1])


def specify(
    definition: ImageDefinition | DockerfileDefinition,
    platform: Platform,
    images: Mapping[str, ResolvedImage],
    frontends: Mapping[str, ResolvedImage] | None = None,
) -> ImageSpec:
    """Pin one image for one platform; see `Specifier`."""
    return Specifier(platform, images, frontends).specify(definition)


class Specifier:
    """Pins the images of one plan for one platform. `images` and `frontends` hold what the functions above ask for.

    Images that start alike share the steps that this comes to.
    """

    def __init__(
        self,
        platform: Platform,
        images: Mapping[str, ResolvedImage],
        frontends: Mapping[str, ResolvedImage] | None = None,
    ) -> None:
        self.platform = platform
        self.images = images
        self.frontends = frontends or {}
        unusable = (name for name, image in images.items() if image.is_missing or image.is_for_others)
        self._unusable = frozenset(unusable)
        self._starts: dict[tuple[str, str], Prefix] = {}
        self._longer: dict[tuple[Prefix, Part, str], Prefix] = {}

    def specify(self, definition: ImageDefinition | DockerfileDefinition) -> ImageSpec:
        """Pin a definition.

        Raises UnsupportedImageError when the definition or an image that it needs is not meant for the platform, when
        there is no such image, or a value cannot be expanded.
        """
        self._check(definition)
        if isinstance(definition, DockerfileDefinition):
            images = tuple(self.images[name] for name in definition.images)
            dockerfile = replace(definition.dockerfile, images=images)
            for name in frontends_needed(definition):
                dockerfile = _read_by(dockerfile, self.frontends[name])
            steps = (Step(dockerfile, RuntimeConfig(), definition.origin),)
            return self._spec(definition, None, steps, RuntimeConfig())
        base = self.images[definition.base]
        if base.on_build:
            raise UnsupportedImageError(
                f"The {_place(definition)} starts from `{base.reference}`, which has `ONBUILD` instructions for it "
                f"(`{base.on_build[0]}`), and only a Dockerfile can run them",
                hint="start from an image without them, or use `flyte.Image.from_dockerfile`",
            )
        prefix = self._start(definition.base, base, definition.python)
        for placed in definition.parts:
            try:
                prefix = self._then(prefix, placed.part, placed.origin)
            except ExpansionError as error:
                raise _not_expanded(error, definition.environment, placed.origin) from error
        return self._spec(definition, base, prefix.steps, prefix.config)

    def _check(self, definition: ImageDefinition | DockerfileDefinition) -> None:
        if self.platform not in definition.platforms:
            wanted = ", ".join(f"`{item}`" for item in definition.platforms)
            raise UnsupportedImageError(
                f"The {_place(definition)} is for {wanted}, not for `{self.platform}`",
                hint=f"add `{self.platform}` to the image's `platform`, or use an engine of that platform",
            )
        for name in self._unusable and sorted(self._unusable & images_needed(definition)):
            self._refuse(name, definition)

    def _refuse(self, name: str, definition: ImageDefinition | DockerfileDefinition) -> None:
        image = self.images[name]
        if image.is_missing:
            if "@" in image.location and "@" not in name:
                raise UnsupportedImageError(
                    f"The {_place(definition)} cannot be made: there is no `{image.location}` any more, which is what "
                    f"`{name}` is locked to",
                    hint=f"`flytebuild lock --update {name}` locks it to what it is today",
                )
            asked = "" if image.location == name else f" (its registry was asked for `{image.location}`)"
            raise UnsupportedImageError(
                f"The {_place(definition)} cannot be made: there is no `{name}`{asked}",
                hint="check the name and the tag; images come from registries, so one that only the engine has must be "
                "pushed to one",
            )
        raise UnsupportedImageError(
            f"The {_place(definition)} cannot be made for `{self.platform}`: {image.problem}",
            hint="use an image that is there for that platform, or build for another one",
        )

    def _start(self, name: str, base: ResolvedImage, python: str) -> Prefix:
        start = self._starts.get((name, python))
        if start is None:
            start = self._starts[name, python] = Prefix.of(base.config, python, self.images)
        return start

    def _then(self, prefix: Prefix, part: Part, origin: str) -> Prefix:
        longer = self._longer.get((prefix, part, origin))
        if longer is None:
            longer = self._longer[prefix, part, origin] = prefix.then(part, origin)
        return longer

    def _spec(
        self,
        definition: ImageDefinition | DockerfileDefinition,
        base: ResolvedImage | None,
        steps: tuple[Step, ...],
        config: RuntimeConfig,
    ) -> ImageSpec:
        return ImageSpec(
            definition.name,
            definition.registry,
            self.platform,
            base,
            steps,
            config,
            definition.roots,
            dict(_places(definition)) if isinstance(definition, ImageDefinition) else {},
        )


def _places(definition: ImageDefinition) -> Iterator[tuple[str, str]]:
    """Where the settings of an image are written, as `ImageSpec.places`; the last of one counts."""
    for placed in definition.parts:
        match placed.part:
            case SetEnv(pairs=pairs):
                yield from ((f"env.{name}", placed.origin) for name, _ in pairs)
            case SetWorkDir():
                yield "workdir", placed.origin
            case SetLabels():
                yield "labels", placed.origin
            case RunAs():
                yield "user", placed.origin


def _read_by(dockerfile: Dockerfile, frontend: ResolvedImage) -> Dockerfile:
    """Docker's stable frontend is in every builder, and takes its own place where no registry has it."""
    if frontend.is_resolved or not re.fullmatch(_STABLE_FRONTEND, frontend.reference):
        return replace(dockerfile, frontend=frontend)
    return replace(dockerfile, stand_in=frontend.problem)


def _not_expanded(error: ExpansionError, environment: str, origin: str) -> UnsupportedImageError:
    whose = f" of environment `{environment}`" if environment else ""
    where = f" ({origin})" if origin else ""
    return UnsupportedImageError(
        f"{error}{whose} cannot be expanded{where}",
        hint="use `$NAME`, `${NAME}`, `${NAME:-default}` or `${NAME:+value}`; write `\\$` for a dollar sign",
    )


def _place(definition: ImageDefinition | DockerfileDefinition) -> str:
    """An image by where its author finds it."""
    whose = (
        f"image of environment `{definition.environment}`" if definition.environment else f"image `{definition.name}`"
    )
    return whose + (f" ({definition.origin})" if definition.origin else "")
