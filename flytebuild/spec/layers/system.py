"""What every image starts with, and what else is done to its file system."""

from __future__ import annotations

from typing import ClassVar, Literal

from msgspec import Struct

from flytebuild.spec.canonical import Document, Value
from flytebuild.spec.images import ResolvedImage
from flytebuild.spec.layers.options import Secret, secret_fields
from flytebuild.spec.tree import Tree

STRICT = "set -e\n"
"""What the text of a command of several lines begins with: the first line that fails ends it."""


class Binary(Struct, frozen=True):
    """A tool's binary, taken from the tool's own image.

    `is_apart` where it is a layer of its own, made without the image that it is put on top of: nothing else has to be
    done there, since the virtual environment that images begin with is there as well.
    """

    tool: Literal["uv", "pixi"]
    image: ResolvedImage
    source: str
    path: str
    is_apart: bool = False

    @property
    def kind(self) -> str:
        return self.tool

    @property
    def summary(self) -> str:
        return f"{self.tool} from {self.image.reference}"

    def fields(self) -> Document:
        fields: dict[str, Value] = {**self.image.identity(), "path": self.path, "source": self.source}
        return fields | ({"apart": True} if self.is_apart else {})


class Venv(Struct, frozen=True):
    """A virtual environment at `path`, made by uv unless the image has one there."""

    python: str
    path: str
    kind: ClassVar[str] = "venv"

    @property
    def summary(self) -> str:
        return f"virtual environment {self.path} (with Python {self.python} if there is none)"

    def fields(self) -> Document:
        return {"path": self.path, "python": self.python}


class AptPackages(Struct, frozen=True):
    """Debian packages, in the user's order: apt reads `pkg-` and `pkg=version` from left to right."""

    packages: tuple[str, ...]
    secrets: tuple[Secret, ...] = ()
    kind: ClassVar[str] = "apt"

    @property
    def summary(self) -> str:
        return "apt: " + (", ".join(self.packages) or "nothing")

    def fields(self) -> Document:
        return {"packages": list(self.packages), **secret_fields(self.secrets)}


class Command(Struct, frozen=True):
    """One command of the user's: `shell` text for `/bin/sh -c`, or `args` without that shell."""

    shell: str = ""
    args: tuple[str, ...] = ()
    secrets: tuple[Secret, ...] = ()
    kind: ClassVar[str] = "command"

    @property
    def summary(self) -> str:
        is_script = len(self.args) == 3 and self.args[1] == "-c"
        text = self.args[2] if is_script else " ".join(self.args) or self.shell
        text = text.removeprefix(STRICT).strip()
        line = text.splitlines()[0] if text else ""
        return "run: " + (line if len(line) <= 60 else line[:59] + "…")

    def fields(self) -> Document:
        what: dict[str, Value] = {"args": list(self.args)} if self.args else {"shell": self.shell}
        return what | secret_fields(self.secrets)


class Copy(Struct, frozen=True):
    """Files of the host at `destination`.

    A tree of one file is put there under its own name when `into` says that the destination is a folder, and in the
    destination's place otherwise; a folder's content is put into the destination. Everything belongs to the user and
    group called `owner` where the image has them, else to root.

    `origin` is what the user calls them, and `folder` is how the paths begin, seen from the current folder, that they
    have on the host (`src/`); nothing where they are elsewhere. Both are for messages.
    """

    tree: Tree
    destination: str
    into: bool = True
    owner: str = ""
    origin: str = ""
    folder: str = ""
    kind: ClassVar[str] = "copy"

    @property
    def summary(self) -> str:
        return f"copy: {self.origin or self.tree.digest[:12]} → {self.destination}"

    def fields(self) -> Document:
        fields: dict[str, Value] = {"destination": self.destination, "into": self.into, "tree": self.tree.digest}
        return fields | ({"owner": self.owner} if self.owner else {})


class Folder(Struct, frozen=True):
    """A folder that must be there, with those above it; what exists is left as it is.

    `owner` is `user` or `user:group`, by name or number; what the image does not know is root.
    """

    path: str
    owner: str = ""
    kind: ClassVar[str] = "folder"

    @property
    def summary(self) -> str:
        return f"folder {self.path}"

    def fields(self) -> Document:
        return {"path": self.path} | ({"owner": self.owner} if self.owner else {})
