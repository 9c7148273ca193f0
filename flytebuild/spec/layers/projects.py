"""Projects of uv, Poetry and pixi."""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

from msgspec import Struct

from flytebuild.noted import Noted
from flytebuild.spec.canonical import Document, Value
from flytebuild.spec.layers.listed import Listed
from flytebuild.spec.layers.options import NO_OPTIONS, PipOptions, Secret, extra_fields, secret_fields
from flytebuild.spec.tree import Tree

Mode: TypeAlias = Literal["dependencies_only", "install_project"]


class LocalPackage(Struct, frozen=True):
    """A package that a project takes from a folder, and where that folder is relative to the project's."""

    path: str
    tree: Tree


class UvProject(Noted, frozen=True):
    """What `uv sync` installs of a project.

    `tree` holds `pyproject.toml` (with `uv.lock`, when `locked`), or the whole project in mode `install_project`;
    `listed` are the packages that the lock has, or else the manifest, for messages.
    """

    mode: Mode
    tree: Tree
    locked: bool
    packages: tuple[LocalPackage, ...] = ()
    options: PipOptions = NO_OPTIONS
    listed: tuple[Listed, ...] = ()
    kind: ClassVar[str] = "uv-project"

    NOTES = ("listed",)

    @property
    def summary(self) -> str:
        return "uv project" + ("" if self.mode == "install_project" else ": dependencies")

    def fields(self) -> Document:
        fields = {"locked": self.locked, "mode": self.mode, "tree": self.tree.digest, **_packages(self.packages)}
        return {**fields, **self.options.fields()}


class PoetryProject(Noted, frozen=True):
    """What `poetry install` installs of a project, with the Poetry of `version`.

    `tree` and `listed` are as for UvProject.
    """

    mode: Mode
    tree: Tree
    version: str
    packages: tuple[LocalPackage, ...] = ()
    extra_args: str = ""
    secrets: tuple[Secret, ...] = ()
    listed: tuple[Listed, ...] = ()
    kind: ClassVar[str] = "poetry-project"

    NOTES = ("listed",)

    @property
    def summary(self) -> str:
        return "poetry project" + ("" if self.mode == "install_project" else ": dependencies")

    def fields(self) -> Document:
        fields: dict[str, Value] = {"mode": self.mode, "tree": self.tree.digest, "version": self.version}
        return {
            **fields,
            **_packages(self.packages),
            **extra_fields(self.extra_args),
            **secret_fields(self.secrets),
        }


class PixiProject(Struct, frozen=True):
    """What `pixi install` makes of a manifest: files of the host in `tree`, or text rendered from a script in `texts`.

    The files are copied into the image, since pixi's environments live below them.
    """

    manifest: str
    environment: str
    locked: bool
    tree: Tree | None = None
    texts: tuple[tuple[str, str], ...] = ()
    packages: tuple[LocalPackage, ...] = ()
    extra_args: str = ""
    secrets: tuple[Secret, ...] = ()
    kind: ClassVar[str] = "pixi-project"

    @property
    def summary(self) -> str:
        return f"pixi environment {self.environment} of {self.manifest}"

    def fields(self) -> Document:
        fields: dict[str, Value] = {
            "environment": self.environment,
            "locked": self.locked,
            "manifest": self.manifest,
            **_packages(self.packages),
            **extra_fields(self.extra_args),
            **secret_fields(self.secrets),
        }
        if self.tree:
            fields["tree"] = self.tree.digest
        if self.texts:
            fields["texts"] = dict(self.texts)
        return fields


def _packages(packages: tuple[LocalPackage, ...]) -> dict[str, Value]:
    if not packages:
        return {}
    found = sorted(packages, key=lambda package: package.path)
    return {"packages": [{"path": package.path, "tree": package.tree.digest} for package in found]}
