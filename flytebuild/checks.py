"""The checks of loaded definitions: the pure rules meet the user's files; what plans and builds say of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from flytebuild.authoring.environments import Definitions
from flytebuild.authoring.roots import named
from flytebuild.authoring.site import relative
from flytebuild.authoring.subjects import LiveObjects, subjects
from flytebuild.check import inclusion
from flytebuild.check.examination import examine, task_files
from flytebuild.check.finding import RULES, Finding
from flytebuild.config import Config
from flytebuild.errors import CheckError, ConfigError, UsageError
from flytebuild.graph import EnvironmentNode
from flytebuild.spec.images import Platform
from flytebuild.spec.model import Definition, ImageDefinition

if TYPE_CHECKING:
    from flytebuild.check.exact import Answer
    from flytebuild.wheels.lock import Lock

_SHOWN = 5
"""Findings that a plan tells; `flytebuild check` has them all."""


_LOCKED = ("unpinned-requirement",)
"""Rules about what is nothing to be told of where there is a lock: what it does not have is told by plans."""


def check(config: Config, definitions: Definitions, nodes: Sequence[EnvironmentNode]) -> tuple[Finding, ...]:
    """What is found in the environments of a closure, the most serious first.

    Raises ConfigError where a rule is to be ignored that there is not.
    """
    for name in config.ignore:
        if name not in RULES:
            import difflib

            nearest = difflib.get_close_matches(name, RULES, 1)
            hint = f"did you mean `{nearest[0]}`?" if nearest else "rules: " + ", ".join(f"`{rule}`" for rule in RULES)
            raise ConfigError(f"`ignore` in `{config.sources.get('ignore', '?')}` names no rule: `{name}`", hint=hint)
    ignored = (*config.ignore, *(_LOCKED if config.lock and config.lock.is_file() else ()))
    lock = _lock(config)
    found = examine(
        tuple(subjects(definitions, nodes)),
        LiveObjects(),
        _text_of,
        ignored=ignored,
        locked=frozenset(image.reference for image in lock.images) if lock else frozenset(),
        images=_images(config, nodes, lock),
    )
    return tuple(replace(item, file=relative(item.file)) for item in found)


def _lock(config: Config) -> Lock | None:
    """The lock, where there is one; one that cannot be read is a plan's to tell."""
    if not (config.lock and config.lock.is_file()):
        return None
    # Loaded here: only who has a lock needs what reads it.
    from flytebuild.wheels import lockfile

    try:
        return lockfile.read(config.lock)
    except UsageError:
        return None


def _images(config: Config, nodes: Sequence[EnvironmentNode], lock: Lock | None) -> dict[str, Definition]:
    """The images of environments, with what the lock installs in them."""
    if lock is None:
        return {node.name: node.image for node in nodes}
    from flytebuild.wheels.definitions import with_locked  # as in `_lock`

    platforms = tuple(map(Platform.parse, config.platforms))
    return {
        node.name: with_locked(node.image, lock, platforms) if isinstance(node.image, ImageDefinition) else node.image
        for node in nodes
    }


def modules(definitions: Definitions, node: EnvironmentNode) -> tuple[str, ...]:
    """The modules that an environment's tasks are imported from, by the names that they have in its containers."""
    if node.file is None:
        return ()
    root = named(Path(node.file)).roots[0]
    (subject,) = subjects(definitions, [node])
    files = (Path(file) for file in task_files(subject))
    names = (".".join(file.relative_to(root).with_suffix("").parts) for file in files if file.is_relative_to(root))
    return tuple(dict.fromkeys(name.removesuffix(".__init__") for name in names))


def exact(
    config: Config,
    definitions: Definitions,
    nodes: Sequence[EnvironmentNode],
    findings: Sequence[Finding],
    answers: Mapping[str, Answer],
) -> tuple[Finding, ...]:
    """The findings with what importing modules in the images has shown, by the environments' names."""
    from flytebuild.check.exact import merge  # a plan imports nothing there

    images = _images(config, nodes, _lock(config))
    installed = {name: inclusion.Installed(image, _text_of) for name, image in images.items()}
    places = {node.name: definitions.place(node.name) for node in nodes}
    return merge(findings, answers, lambda name, module: inclusion.whose(name, module, installed), places)


def warnings(findings: Sequence[Finding]) -> Iterator[str]:
    """What a plan says of findings: a sentence for each serious one, up to a number that can still be read."""
    serious = [finding for finding in findings if finding.is_serious]
    for finding in serious[:_SHOWN]:
        yield sentence(finding)
    if more := len(serious[_SHOWN:]):
        yield f"{more} more of that kind; `flytebuild check` shows all, with hints"


def refuse(findings: Sequence[Finding]) -> None:
    """Raise CheckError where a serious one is among them."""
    if serious := [sentence(finding) for finding in findings if finding.is_serious]:
        raise CheckError(serious)


def sentence(finding: Finding) -> str:
    """A finding in one line: its place, what it is, its rule."""
    place = f"{finding.place}: " if finding.place else ""
    return f"{place}{finding.message} ({finding.rule})"


def _text_of(file: str) -> str | None:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
