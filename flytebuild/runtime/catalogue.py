"""Deployed tasks: a version of a task is what it was when it was deployed, for as long as the data folder lives.

One file per version, so that a task that was deployed yesterday can be run by today's control plane.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flytebuild.runtime.actions import ExistsError
from flytebuild.runtime.records import UnknownError

if TYPE_CHECKING:
    from flyteidl2.task.task_definition_pb2 import TaskDetails, TaskIdentifier

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TaskKey:
    """A version of a task; the organization is everybody's."""

    project: str
    domain: str
    name: str
    version: str

    @classmethod
    def of(cls, identifier: TaskIdentifier) -> TaskKey:
        """The key that an identifier names."""
        return cls(identifier.project, identifier.domain, identifier.name, identifier.version)

    @property
    def file_name(self) -> str:
        """Names and versions may hold anything, so the file's name is their digest."""
        parts = (self.project, self.domain, self.name, self.version)
        text = "".join(f"{len(part)}:{part}" for part in parts)
        return f"{hashlib.sha256(text.encode()).hexdigest()}.pb"


class Catalogue:
    """The deployed tasks of one folder, in the order of their deployment."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(parents=True, exist_ok=True)
        self._seen = root.stat().st_mtime_ns
        self._tasks = dict(sorted(_load(root), key=lambda item: item[1].metadata.deployed_at.ToNanoseconds()))

    def __iter__(self) -> Iterator[TaskDetails]:
        return iter(tuple(self._tasks.values()))

    def refresh(self) -> None:
        """Forget the versions whose files another process has removed; costs nothing while the folder is unchanged."""
        changed = self._root.stat().st_mtime_ns
        if changed != self._seen:
            self._seen = changed
            there = {path.name for path in self._root.iterdir()}
            self._tasks = {key: task for key, task in self._tasks.items() if key.file_name in there}

    def get(self, key: TaskKey) -> TaskDetails:
        """A version of a task; raises UnknownError."""
        try:
            return self._tasks[key]
        except KeyError:
            raise UnknownError(f"version `{key.version}` of task `{key.name}` is not deployed here") from None

    def add(self, task: TaskDetails) -> None:
        """Keep a version of a task; raises ExistsError when it is known, for a version never changes."""
        key = TaskKey.of(task.task_id)
        if key in self._tasks:
            raise ExistsError(f"version `{key.version}` of task `{key.name}` is deployed already")
        part = self._root / f".{key.file_name}"
        part.write_bytes(task.SerializeToString())
        os.replace(part, self._root / key.file_name)
        self._tasks[key] = task


def versions(root: Path) -> Iterator[tuple[TaskKey, Path]]:
    """The versions that are kept in a folder, with their files, those that were deployed last first."""
    found = [(task.metadata.deployed_at.ToNanoseconds(), key) for key, task in _load(root)]
    for _, key in sorted(found, key=lambda item: item[0], reverse=True):
        yield key, root / key.file_name


def _load(root: Path) -> Iterator[tuple[TaskKey, TaskDetails]]:
    from flyteidl2.task.task_definition_pb2 import TaskDetails
    from google.protobuf.message import DecodeError

    for path in sorted(root.glob("[!.]*.pb")):
        try:
            task = TaskDetails.FromString(path.read_bytes())
        except (OSError, DecodeError) as error:
            log.warning("a deployed task cannot be read from `%s`: %s", path, error)
            continue
        yield TaskKey.of(task.task_id), task
