"""The closed set of layer specs: what one step of an image is, as a value.

`fields()` is the whole meaning of a layer: everything in it reaches the digest, and what is not in it does not. The
digest also covers the kind, the version of its translation to BuildKit (`EMITTERS`), everything below it and, for
kinds that execute something (`EXECUTING`), what the process sees: environment, working directory and user.

Files of the host are named by the digest of their tree; where they lie is not part of a spec. Paths inside an image are
absolute once `flytebuild.spec.specify` has resolved them against the working directory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from flytebuild.spec.canonical import Document, Value
from flytebuild.spec.images import ResolvedImage
from flytebuild.spec.tree import Tree

STRICT = "set -e\n"
"""What the text of a command of several lines begins with: the first line that fails ends it."""

Mode: TypeAlias = Literal["dependencies_only", "install_project"]


@dataclass(frozen=True, slots=True, order=True)
class Secret:
    """A secret that a step is given: as the variable `env`, or as a file at `target`. The value is never here."""

    group: str
    key: str
    env: str = ""
    target: str = ""

    def document(self) -> Document:
        fields = {"env": self.env, "group": self.group, "key": self.key, "target": self.target}
        return {name: value for name, value in fields.items() if value}


@dataclass(frozen=True, slots=True)
class PipOptions:
    """What every layer that installs with uv may be given.

    The order of `extra_index_urls` is their priority; `extra_args` is shell text and kept as it is.
    """

    index_url: str = ""
    extra_index_urls: tuple[str, ...] = ()
    pre: bool = False
    extra_args: str = ""
    secrets: tuple[Secret, ...] = ()

    def fields(self) -> dict[str, Value]:
        fields: dict[str, Value] = {}
        if self.index_url:
            fields["index_url"] = self.index_url
        if self.extra_index_urls:
            fields["extra_index_urls"] = list(self.extra_index_urls)
        if self.pre:
            fields["pre"] = True
        if self.extra_args:
            fields["extra_args"] = self.extra_args
        return fields | _secrets(self.secrets)


@dataclass(frozen=True, slots=True)
class LocalPackage:
    """A package that a project takes from a folder, and where that folder is relative to the project's."""

    path: str
    tree: Tree


@dataclass(frozen=True, slots=True)
class Binary:
    """A tool's binary, taken from the tool's own image."""

    tool: Literal["uv", "pixi"]
    image: ResolvedImage
    source: str
    path: str

    @property
    def kind(self) -> str:
        return self.tool

    @property
    def summary(self) -> str:
        return f"{self.tool} from {self.image.reference}"

    def fields(self) -> Document:
        return {**self.image.identity(), "path": self.path, "source": self.source}


@dataclass(frozen=True, slots=True)
class Venv:
    """A virtual environment at `path`, made by uv unless the image has one there."""

    python: str
    path: str
    kind: ClassVar[str] = "venv"

    @property
    def summary(self) -> str:
        return f"virtual environment {self.path} (with Python {self.python} if there is none)"

    def fields(self) -> Document:
        return {"path": self.path, "python": self.python}


@dataclass(frozen=True, slots=True)
class PipPackages:
    """Packages that `uv pip install` puts into the active Python.

    `requirements` keeps the user's order, which decides what the resolver prefers.
    """

    requirements: tuple[str, ...]
    options: PipOptions = PipOptions()
    kind: ClassVar[str] = "pip"

    @property
    def summary(self) -> str:
        return "pip: " + (", ".join(self.requirements) or "nothing")

    def fields(self) -> Document:
        return {"requirements": list(self.requirements), **self.options.fields()}


@dataclass(frozen=True, slots=True)
class Requirements:
    """A requirements file and every file that it refers to: `tree` holds them all, `file` names the first one there.

    `origin` is what the user calls it, for messages.
    """

    tree: Tree
    file: str
    options: PipOptions = PipOptions()
    origin: str = ""
    kind: ClassVar[str] = "requirements"

    @property
    def summary(self) -> str:
        return f"requirements: {self.origin or self.file}"

    def fields(self) -> Document:
        return {"file": self.file, "tree": self.tree.digest, **self.options.fields()}


@dataclass(frozen=True, slots=True)
class Wheels:
    """A package from a folder of wheels, forced to be the one from there."""

    package: str
    tree: Tree
    options: PipOptions = PipOptions()
    kind: ClassVar[str] = "wheels"

    @property
    def summary(self) -> str:
        return f"wheel: {self.package}"

    def fields(self) -> Document:
        return {"package": self.package, "tree": self.tree.digest, **self.options.fields()}


@dataclass(frozen=True, slots=True)
class UvProject:
    """What `uv sync` installs of a project.

    `tree` holds `pyproject.toml` (with `uv.lock`, when `locked`), or the whole project in mode `install_project`.
    """

    mode: Mode
    tree: Tree
    locked: bool
    packages: tuple[LocalPackage, ...] = ()
    options: PipOptions = PipOptions()
    kind: ClassVar[str] = "uv-project"

    @property
    def summary(self) -> str:
        return "uv project" + ("" if self.mode == "install_project" else ": dependencies")

    def fields(self) -> Document:
        fields = {"locked": self.locked, "mode": self.mode, "tree": self.tree.digest, **_packages(self.packages)}
        return {**fields, **self.options.fields()}


@dataclass(frozen=True, slots=True)
class PoetryProject:
    """What `poetry install` installs of a project, with the Poetry of `version`; `tree` as for UvProject."""

    mode: Mode
    tree: Tree
    version: str
    packages: tuple[LocalPackage, ...] = ()
    extra_args: str = ""
    secrets: tuple[Secret, ...] = ()
    kind: ClassVar[str] = "poetry-project"

    @property
    def summary(self) -> str:
        return "poetry project" + ("" if self.mode == "install_project" else ": dependencies")

    def fields(self) -> Document:
        fields: dict[str, Value] = {"mode": self.mode, "tree": self.tree.digest, "version": self.version}
        return {**fields, **_packages(self.packages), **_extra(self.extra_args), **_secrets(self.secrets)}


@dataclass(frozen=True, slots=True)
class PixiProject:
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
            **_extra(self.extra_args),
            **_secrets(self.secrets),
        }
        if self.tree:
            fields["tree"] = self.tree.digest
        if self.texts:
            fields["texts"] = dict(self.texts)
        return fields


@dataclass(frozen=True, slots=True)
class AptPackages:
    """Debian packages, in the user's order: apt reads `pkg-` and `pkg=version` from left to right."""

    packages: tuple[str, ...]
    secrets: tuple[Secret, ...] = ()
    kind: ClassVar[str] = "apt"

    @property
    def summary(self) -> str:
        return "apt: " + (", ".join(self.packages) or "nothing")

    def fields(self) -> Document:
        return {"packages": list(self.packages), **_secrets(self.secrets)}


@dataclass(frozen=True, slots=True)
class Command:
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
        return what | _secrets(self.secrets)


@dataclass(frozen=True, slots=True)
class Copy:
    """Files of the host at `destination`.

    A tree of one file is put there under its own name when `into` says that the destination is a folder, and in the
    destination's place otherwise; a folder's content is put into the destination. Everything belongs to the user and
    group called `owner` where the image has them, else to root.
    """

    tree: Tree
    destination: str
    into: bool = True
    owner: str = ""
    origin: str = ""
    kind: ClassVar[str] = "copy"

    @property
    def summary(self) -> str:
        return f"copy: {self.origin or self.tree.digest[:12]} → {self.destination}"

    def fields(self) -> Document:
        fields: dict[str, Value] = {"destination": self.destination, "into": self.into, "tree": self.tree.digest}
        return fields | ({"owner": self.owner} if self.owner else {})


@dataclass(frozen=True, slots=True)
class Folder:
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


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A whole image by the user's own Dockerfile, which is all that `file` holds, and the build context `tree`.

    `images` are those that the Dockerfile names, each under the name it is called by there. `syntax` is what its
    `# syntax=` line says, `frontend` the image that reads it therefore; without one the builder's own frontend does,
    and `stand_in` says why where another was asked for.
    """

    file: Tree
    tree: Tree
    images: tuple[ResolvedImage, ...] = ()
    syntax: str = ""
    frontend: ResolvedImage | None = None
    stand_in: str = ""
    kind: ClassVar[str] = "dockerfile"

    @property
    def name(self) -> str:
        """What the Dockerfile is called."""
        return self.file.entries[0].path

    @property
    def summary(self) -> str:
        if self.stand_in:
            return f"Dockerfile {self.name} by the builder's own frontend ({self.stand_in})"
        return f"Dockerfile {self.name}" + (f" by {self.frontend.reference}" if self.frontend else "")

    def fields(self) -> Document:
        found = {image.reference: image.identity() for image in self.images}
        fields: dict[str, Value] = {"file": self.file.entries[0].digest, "images": found, "tree": self.tree.digest}
        return fields | ({"frontend": self.frontend.identity()} if self.frontend else {})


LayerSpec: TypeAlias = (
    Binary
    | Venv
    | PipPackages
    | Requirements
    | Wheels
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
    "uv-project": 3,
    "poetry-project": 3,
    "pixi-project": 1,
    "apt": 2,
    "command": 1,
    "copy": 2,
    "folder": 2,
    "dockerfile": 2,
}
"""The version of each kind's translation to LLB: raised when the same fields come to mean other bytes."""

EXECUTING = frozenset(EMITTERS) - {"uv", "pixi", "copy", "folder", "dockerfile"}
"""The kinds that run a process, and therefore see the environment."""


def trees_of(layer: LayerSpec) -> Iterator[Tree]:
    """The trees whose files a layer needs from the host."""
    for name in ("tree", "file"):
        tree = getattr(layer, name, None)
        if isinstance(tree, Tree):
            yield tree
    for package in getattr(layer, "packages", ()):
        if isinstance(package, LocalPackage):
            yield package.tree


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
        case _:
            return ()


def _secrets(secrets: tuple[Secret, ...]) -> dict[str, Value]:
    """Sorted and without repeats: their order reaches no process."""
    return {"secrets": [secret.document() for secret in sorted(set(secrets))]} if secrets else {}


def _packages(packages: tuple[LocalPackage, ...]) -> dict[str, Value]:
    if not packages:
        return {}
    found = sorted(packages, key=lambda package: package.path)
    return {"packages": [{"path": package.path, "tree": package.tree.digest} for package in found]}


def _extra(text: str) -> dict[str, Value]:
    return {"extra_args": text} if text else {}
