"""What the layers of an image install, by the names of distributions, as far as the definition says it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tomli
from msgspec import Struct, field

from flytebuild.spec.layers import (
    AptPackages,
    Command,
    Copy,
    PipPackages,
    PixiProject,
    PoetryProject,
    Requirements,
    UvProject,
    Wheels,
)
from flytebuild.spec.model import Definition, DockerfileDefinition, ExternalImage, HostFolder, Placed
from flytebuild.spec.requirement import normal_name, parse
from flytebuild.spec.tree import Tree

_PLAIN_BASE = re.compile(r"(?:^|/)flyteorg/flyte:|^(?:docker\.io/)?(?:library/)?(?:python|debian|ubuntu):")
"""Images that have no packages of Python but Flyte."""

_INSTALLS = re.compile(r"\b(?:pip3?|uv|conda|mamba|micromamba|poetry|pdm|pixi|setup\.py|easy_install|install)\b")
_OPTION_WITH_FILE = ("-r", "--requirement", "-c", "--constraint")
_HASH = re.compile(r"\s--hash[=\s]\S+")

Read = Callable[[str], str | None]


class Contents(Struct, frozen=True):
    """What is installed: each distribution with the extras that are asked for, and the requirement as it is written.

    `modules` are names of modules that come as files; `complete` holds the names of a lock, which has everything that
    they need. `unknown` says what else may be there, in words.
    """

    requirements: Mapping[str, frozenset[str]] = field(default_factory=dict)
    written: Mapping[str, str] = field(default_factory=dict)
    modules: frozenset[str] = frozenset()
    complete: frozenset[str] = frozenset()
    unknown: tuple[str, ...] = ()


def contents(image: Definition, read: Read) -> Contents:
    """What an image has; `read` returns the text of a file on this machine, and None where there is none."""
    if isinstance(image, DockerfileDefinition):
        return Contents(unknown=("what its Dockerfile installs is not read",))
    found = _Collector(read)
    # No task starts without it, wherever it comes from.
    found.require("flyte")
    if isinstance(image, ExternalImage):
        found.base(image.reference)
    else:
        found.roots = image.roots
        found.base(image.base)
        for placed in image.parts:
            found.part(placed)
    return Contents(
        {name: frozenset(extras) for name, extras in found.requirements.items()},
        found.written,
        frozenset(found.modules),
        frozenset(found.complete),
        tuple(dict.fromkeys(found.unknown)),
    )


def asked(placed: Placed, roots: Mapping[str, HostFolder], read: Read) -> tuple[str, ...]:
    """The requirements that one layer asks for, those of its files included, as they are written."""
    found = _Collector(read)
    found.roots = roots
    found.part(placed)
    return tuple(found.texts)


class _Collector:
    def __init__(self, read: Read) -> None:
        self._read = read
        self.texts: list[str] = []
        self.roots: Mapping[str, HostFolder] = {}
        self.requirements: dict[str, set[str]] = {}
        self.written: dict[str, str] = {}
        self.modules: set[str] = set()
        self.complete: set[str] = set()
        self.unknown: list[str] = []

    def base(self, reference: str) -> None:
        if not _PLAIN_BASE.search(reference):
            self.unknown.append(f"what `{reference}` holds is not known")

    def part(self, placed: Placed) -> None:
        match placed.part:
            case PipPackages(requirements=texts):
                for text in texts:
                    self.require(text)
            case Requirements(tree=tree):
                self._files(tree)
            case Wheels(package=package):
                self.require(package)
            case UvProject() | PoetryProject() as project:
                self._project(project)
            case PixiProject():
                self.unknown.append("what a pixi environment holds is not read")
            case Copy(tree=tree):
                self._modules(tree)
            case Command() as command:
                if _INSTALLS.search(command.shell or " ".join(command.args)):
                    self.unknown.append(f"what a command installs is not known{_at(placed.origin)}")
            case AptPackages(packages=packages):
                if any(package.startswith("python3-") for package in packages):
                    self.unknown.append(f"Debian's packages of Python are not read{_at(placed.origin)}")
            case _:
                pass

    def require(self, text: str) -> None:
        """One requirement, as a package or a line of a file has it."""
        parsed = parse(text)
        if parsed is None:
            self.unknown.append(f"`{text}` names no package")
            return
        self.texts.append(text)
        self.requirements.setdefault(parsed.name, set()).update(parsed.extras)
        self.written.setdefault(parsed.name, text)

    def _files(self, tree: Tree) -> None:
        """Requirements files: what they include is in the same tree, so all its text files are read."""
        for entry, text in self._texts(tree):
            if entry.endswith((".txt", ".in", ".pip")) or "/" not in entry:
                self._lines(text)

    def _lines(self, text: str) -> None:
        for line in text.replace("\\\n", " ").splitlines():
            line = _HASH.sub("", line.partition(" #")[0].strip())
            if not line or line.startswith("#"):
                continue
            if line.startswith("-"):
                if not line.startswith(("--", *_OPTION_WITH_FILE)) or line.startswith("--editable"):
                    self.unknown.append(f"what `{line}` brings is not known")
                continue
            self.require(line)

    def _modules(self, tree: Tree) -> None:
        self.modules.update(entry.path.rpartition("/")[2].partition(".")[0] for entry in tree.entries)

    def _project(self, project: UvProject | PoetryProject) -> None:
        for tree in (project.tree, *(package.tree for package in project.packages)):
            self._modules(tree)
        files = dict(self._texts(project.tree))
        if lock := files.get("uv.lock") or files.get("poetry.lock"):
            for package in _tables(_toml(lock).get("package")):
                if isinstance(name := package.get("name"), str):
                    self.complete.add(normal_name(name))
            return
        table = _toml(files.get("pyproject.toml", "")).get("project")
        declared = table.get("dependencies") if isinstance(table, dict) else None
        if not isinstance(project, UvProject) or not isinstance(declared, list):
            self.unknown.append("what a project without a lock installs is not known")
            return
        for text in declared:
            self.require(str(text))
        if project.options.extra_args:
            self.unknown.append("what a project's extras install is not read")

    def _texts(self, tree: Tree) -> Iterator[tuple[str, str]]:
        folder = self.roots.get(tree.digest)
        for entry in tree.entries:
            if folder is None or not entry.is_file or entry.path.endswith((".whl", ".gz", ".zip")):
                continue
            text = self._read(folder.moved.get(entry.path) or os.path.join(folder.root, entry.path))
            if text is None:
                self.unknown.append(f"`{entry.path}` cannot be read")
            else:
                yield entry.path, text


def _at(origin: str) -> str:
    return f" ({origin})" if origin else ""


def _toml(text: str) -> Mapping[str, Any]:
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError:
        return {}


def _tables(values: object) -> list[Mapping[str, Any]]:
    return [item for item in values if isinstance(item, dict)] if isinstance(values, list) else []
