"""All rules over all environments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType

from flytebuild.check import calls, dependencies, inclusion, lints, secrets
from flytebuild.check.finding import Finding, in_order
from flytebuild.check.source import Sources
from flytebuild.check.subject import Known, Subject
from flytebuild.spec.model import Definition


def examine(
    subjects: Sequence[Subject],
    known: Known,
    read: Callable[[str], str | None],
    *,
    ignored: Sequence[str] = (),
    locked: Collection[str] = (),
    images: Mapping[str, Definition] = MappingProxyType({}),
) -> tuple[Finding, ...]:
    """What is found, the most serious first, then in the subjects' order.

    `read` returns the text of a file; `ignored` are rules that are off, `locked` the names of images that a lock has
    the digests of, and `images` those of environments with what a lock installs in them. A comment in the user's code
    turns a rule off for its line.
    """
    sources = Sources(read)
    reader = calls.Reader(known, sources)
    readings = {subject.name: tuple(_readings(subject, reader)) for subject in subjects}
    starts = {subject.name: tuple(dict.fromkeys(task_files(subject))) for subject in subjects}
    installed = {
        subject.name: inclusion.Installed(images.get(subject.name, subject.image), read) for subject in subjects
    }
    found = [
        *dependencies.examine(subjects, readings),
        *inclusion.examine(subjects, installed, readings, starts, sources),
        *secrets.examine(subjects),
        *lints.examine(subjects, read, locked),
    ]
    return in_order(item for item in found if item.rule not in ignored and not _is_ignored(item, sources))


def _readings(subject: Subject, reader: calls.Reader) -> Iterator[tuple[str, calls.Reading]]:
    """What an environment's tasks do, and its other functions."""
    for task in subject.tasks:
        if task.function is not None:
            yield task.name, reader.read(task.function)
    for function in subject.functions:
        yield f"{subject.name}.{getattr(function, '__name__', '')}", reader.read(function)


def task_files(subject: Subject) -> Iterator[str]:
    """The files that are imported for an environment's tasks."""
    for function in (*(task.function for task in subject.tasks), *subject.functions):
        code = getattr(inspect.unwrap(function), "__code__", None) if callable(function) else None
        if code is not None:
            yield code.co_filename


def _is_ignored(finding: Finding, sources: Sources) -> bool:
    if not finding.line or not finding.file.endswith(".py"):
        return False
    source = sources.of(finding.file)
    return source is not None and source.ignores(finding.line, finding.rule)
