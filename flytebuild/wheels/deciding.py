"""What one layer comes to on top of what lies below it: its question, put to uv in a folder that has its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tomli

from flytebuild.errors import DefinitionError, UnavailableError
from flytebuild.spec.layers import Pin, PipPackages, Requirements, UvProject
from flytebuild.spec.model import ImageSpec
from flytebuild.wheels import exported, projects, staging
from flytebuild.wheels.arguments import Arguments, NotLockableError, with_words
from flytebuild.wheels.environment import Environment
from flytebuild.wheels.questions import Question
from flytebuild.wheels.uv import Asking, Found, Target, Uv


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: uv, in a `folder` for the layer's files, with the `variables` of the layer.

    `hide` takes secrets out of what uv complains.
    """

    uv: Uv
    folder: Path
    variables: Mapping[str, str]
    hide: Callable[[str], str]

    def asking(self, what: tuple[str, ...], arguments: Arguments, folder: Path | None = None) -> Asking:
        """What uv is asked, in a folder of ours."""
        return Asking(what, arguments, self.variables, folder or self.folder, self.hide)


@dataclass(frozen=True, slots=True)
class Decided:
    """The wheels, what uv was asked for them, and the options about indexes that files add to the layer's."""

    found: Found
    asking: Asking
    where: tuple[str, ...] = ()


def decide(
    asker: Asker,
    spec: ImageSpec,
    question: Question,
    target: Target,
    below: Environment,
    preferences: Mapping[str, str],
) -> Decided:
    """The wheels that a layer adds to `below` or changes there; versions in `preferences` are kept if they can be.

    Raises as `Uv.changes` does, and SourceChangedError.
    """
    match question.layer:
        case PipPackages(requirements=texts):
            return _packages(asker, asker.asking(texts, question.arguments), (), target, below, preferences)
        case Requirements() as layer:
            staging.stage(layer.tree, spec.roots, asker.folder)
            file = asker.folder / layer.file
            words: Sequence[str] = staging.indexes(file)
            arguments = with_words(question.arguments, list(words))
            asking = asker.asking(("--requirement", file.name), arguments, file.parent)
            return _packages(asker, asking, tuple(words), target, below, preferences)
        case UvProject() as layer:
            staging.stage(layer.tree, spec.roots, asker.folder)
            return _project(asker, layer, target, below)
        case layer:
            raise NotLockableError(f"`{layer.summary}` is none of the layers that can be locked")


def _packages(
    asker: Asker,
    asking: Asking,
    where: tuple[str, ...],
    target: Target,
    below: Environment,
    preferences: Mapping[str, str],
) -> Decided:
    wanted = asker.uv.preferred(asking, target, below, preferences) if preferences else None
    try:
        versions = asker.uv.changes(asking, target, below, wanted)
    except DefinitionError:
        if not wanted:
            raise
        # What the resolver prefers on its own may not go together with what is installed below.
        versions = asker.uv.changes(asking, target, below)
    return Decided(asker.uv.files(versions, asking, target), asking, where)


def _project(asker: Asker, layer: UvProject, target: Target, below: Environment) -> Decided:
    """What a project's own lock says; what uv prefers, or an index has by now, counts for nothing."""
    manifest = tomli.loads((asker.folder / "pyproject.toml").read_text(encoding="utf-8"))
    projects.check_settings(manifest, target.python)
    lock = asker.uv.exported(asker.asking((), Arguments()), projects.choice(layer))
    chosen = tomli.loads(lock.read_text(encoding="utf-8"))
    exported.check(chosen, target.python)
    versions = asker.uv.changes(asker.asking(("--requirement", lock.name), Arguments()), target, below)
    exported.check_satisfied(chosen, versions, {item.name for item in below.values() if item.is_direct})
    pins, where = exported.pins(chosen, versions, target.best), exported.indexes(chosen, versions)
    asking = asker.asking((), with_words(Arguments(), list(where)))
    if "--index" in where and not _is_found(pins, asker.uv, asking, target):
        raise NotLockableError("its indexes have other files of the same versions as well, or want credentials")
    return Decided(Found(pins), asking, where)


def _is_found(pins: Sequence[Pin], uv: Uv, asking: Asking, target: Target) -> bool:
    """Whether a step finds these wheels on several indexes, of which the first one counts that has a version."""
    try:
        found = uv.files({pin.name: pin.version for pin in pins}, asking, target).pins
    except (DefinitionError, UnavailableError):
        return False
    return [pin.sha256 for pin in found] == [pin.sha256 for pin in pins]
