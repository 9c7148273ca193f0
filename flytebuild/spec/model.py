"""Images as values: what the user asked for, and what it comes to once everything outside is pinned.

An `ImageDefinition` is what the user asked for; `flytebuild.spec.specify` pins its bases and turns it into an
`ImageSpec`, whose digests are in `flytebuild.spec.digests`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from msgspec import Struct, field

from flytebuild.noted import Noted
from flytebuild.spec.images import Platform, ResolvedImage, RuntimeConfig
from flytebuild.spec.layers import Dockerfile, LayerSpec, images_of
from flytebuild.spec.step import Step


class SetEnv(Struct, frozen=True):
    """Environment variables from here on; values may refer to earlier ones (`flytebuild.spec.expand`)."""

    pairs: tuple[tuple[str, str], ...]


class SetWorkDir(Struct, frozen=True):
    """The working directory from here on; a relative one starts at the one before."""

    path: str


class SetLabels(Struct, frozen=True):
    """Labels of the image."""

    pairs: tuple[tuple[str, str], ...]


class RunAs(Struct, frozen=True):
    """The user of the image's containers; steps of the build run as root all the same."""

    user: str


Setting: TypeAlias = SetEnv | SetWorkDir | SetLabels | RunAs
Part: TypeAlias = LayerSpec | Setting


class HostFolder(Struct, frozen=True):
    """Where the files of a tree lie on the host: below `root`, but for those that `moved` names by their tree path."""

    root: str
    moved: Mapping[str, str] = field(default_factory=dict)


class Placed(Noted, frozen=True):
    """One part of an image and where its author wrote it: `file:line`, or nothing where that is not known."""

    part: Part
    origin: str = ""

    NOTES = ("origin",)


class ImageDefinition(Noted, frozen=True):
    """An image as the user defined it, before anything outside was looked at.

    `registry` and `name` say where the user wants it published; neither changes what the image is, and nor does
    `roots`: where each tree was read, by the tree's digest. `environment` and `origin` are the first place that it is
    used at and where it was written, for messages.
    """

    base: str
    name: str
    registry: str | None
    python: str
    platforms: tuple[Platform, ...]
    parts: tuple[Placed, ...]
    roots: Mapping[str, HostFolder] = field(default_factory=dict)
    environment: str = ""
    origin: str = ""

    NOTES = ("roots", "environment", "origin")


class DockerfileDefinition(Noted, frozen=True):
    """An image that the user's own Dockerfile makes; `images` are those it starts from and copies from."""

    name: str
    registry: str | None
    platforms: tuple[Platform, ...]
    dockerfile: Dockerfile
    images: tuple[str, ...]
    roots: Mapping[str, HostFolder] = field(default_factory=dict)
    environment: str = ""
    origin: str = ""

    NOTES = ("roots", "environment", "origin")


class ExternalImage(Struct, frozen=True):
    """An image that the user named as it is: nothing to build."""

    reference: str


Definition: TypeAlias = ImageDefinition | DockerfileDefinition | ExternalImage


class ImageSpec(Noted, frozen=True):
    """An image for one platform with everything pinned that could be looked at.

    `base` is None where a Dockerfile decides what the image starts from; `config` is then what it decides, too.
    `places` has where its settings are written, for messages: `user`, `workdir`, `labels`, and `env.NAME` for a
    variable.
    """

    name: str
    registry: str | None
    platform: Platform
    base: ResolvedImage | None
    steps: tuple[Step, ...]
    config: RuntimeConfig
    roots: Mapping[str, HostFolder] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)

    NOTES = ("roots", "places")

    @property
    def images(self) -> tuple[ResolvedImage, ...]:
        """Every image that this one is made from."""
        base = (self.base,) if self.base else ()
        return (*base, *(image for step in self.steps for image in images_of(step.layer)))

    @property
    def problem(self) -> str:
        """Why this spec is not pinned, or an empty string."""
        return next((image.problem for image in self.images if not image.is_resolved), "")
