"""Packages of Python."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from flytebuild.noted import Noted
from flytebuild.spec.canonical import Document
from flytebuild.spec.layers.listed import Listed
from flytebuild.spec.layers.options import NO_OPTIONS, PipOptions
from flytebuild.spec.tree import Tree


class PipPackages(Struct, frozen=True):
    """Packages that `uv pip install` puts into the active Python.

    `requirements` keeps the user's order, which decides what the resolver prefers.
    """

    requirements: tuple[str, ...]
    options: PipOptions = NO_OPTIONS
    kind: ClassVar[str] = "pip"

    @property
    def summary(self) -> str:
        return "pip: " + (", ".join(self.requirements) or "nothing")

    def fields(self) -> Document:
        return {"requirements": list(self.requirements), **self.options.fields()}


class Requirements(Noted, frozen=True):
    """A requirements file and every file that it refers to: `tree` holds them all, `file` names the first one there.

    `origin` is what the user calls it, and `listed` are the packages in them: both for messages.
    """

    tree: Tree
    file: str
    options: PipOptions = NO_OPTIONS
    origin: str = ""
    listed: tuple[Listed, ...] = ()
    kind: ClassVar[str] = "requirements"

    NOTES = ("listed",)

    @property
    def summary(self) -> str:
        return f"requirements: {self.origin or self.file}"

    def fields(self) -> Document:
        return {"file": self.file, "tree": self.tree.digest, **self.options.fields()}


class Wheels(Struct, frozen=True):
    """A package from a folder of wheels, forced to be the one from there."""

    package: str
    tree: Tree
    options: PipOptions = NO_OPTIONS
    kind: ClassVar[str] = "wheels"

    @property
    def summary(self) -> str:
        return f"wheel: {self.package}"

    def fields(self) -> Document:
        return {"package": self.package, "tree": self.tree.digest, **self.options.fields()}
