"""What the containers of a run may read and write in the object store.

- They write below their own run's data, and read there. Runs that a task has started are one with the run of that task.
- They read what the owner gave: whatever the inputs of the run name, files and folders of other runs included, and the
  data of runs whose cached or recovered results it was given, with what those runs may read.
- Inputs and uploads, code among them, are read by whoever knows their name, which is a digest of the content or random;
  nobody lists them.
- Buckets other than the control plane's own are common ground, but for data of runs that lies there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import msgpack  # type: ignore[import-untyped]

from flytebuild.runtime.actions import Ledger
from flytebuild.runtime.model import Run
from flytebuild.runtime.records import UnknownError
from flytebuild.runtime.storage import BUCKET, ObjectNameError, ObjectStore
from flytebuild.runtime.stores import Store

_BY_NAME = (f"s3://{BUCKET}/inputs/", f"s3://{BUCKET}/uploads/")
_FOLDER_UPLOAD = re.compile(rf"s3://{BUCKET}/uploads/folders/[^/]+/")
_ADDRESS = re.compile(r"s3://[^\s\"'<>\\]+")
_LARGEST = 64 << 20
"""Inputs above this size, in bytes, are not searched for what they name."""


class Access(Protocol):
    """What somebody may do with objects, given as `s3://BUCKET/KEY`; a listing is asked for by a prefix of that."""

    def may_read(self, uri: str) -> bool:
        """Whether an object may be read."""

    def may_list(self, prefix: str) -> bool:
        """Whether the names that begin so may be told."""

    def may_write(self, uri: str) -> bool:
        """Whether an object may be made, replaced or removed."""


class Everything:
    """The owner's access."""

    def may_read(self, uri: str) -> bool:
        """Always."""
        return True

    def may_list(self, prefix: str) -> bool:
        """Always."""
        return True

    def may_write(self, uri: str) -> bool:
        """Always."""
        return True


class Reach:
    """Knows what belongs to which run."""

    def __init__(self, ledger: Ledger, store: Store) -> None:
        self._ledger = ledger
        self._store = store

    def of(self, run: str) -> Access:
        """The access of a run's containers; to a store of the user's own they have its credentials anyway."""
        return RunAccess(self, self._ledger.run(run)) if isinstance(self._store, ObjectStore) else Everything()

    def head(self, run: str) -> str:
        """The run that a run was started by in the end: of itself, for one that the owner has started."""
        while (parent := self._ledger.run(run).started_by) and self._ledger.has_run(parent):
            run = parent
        return run

    def is_one(self, run: str, other: str) -> bool:
        """Whether two runs are one, since a task of the one has started the other; false for one that is not there."""
        try:
            return self.head(run) == self.head(other)
        except UnknownError:
            return False

    def family(self, run: Run) -> list[Run]:
        """All runs that are one with a run, itself included."""
        head = self.head(run.name)
        return [other for other in self._ledger.runs() if self.head(other.name) == head]

    def is_taken(self, uri: str) -> bool:
        """Whether an address lies in the data of a run."""
        return any(_is_below(uri, areas(run)) for run in self._ledger.runs())

    def given(self, run: Run) -> set[str]:
        """What lies outside of a run's own data and may be read with all that is below it."""
        found: set[str] = set()
        seen: set[str] = set()
        ahead = self.family(run)
        while ahead:
            member = ahead.pop()
            if member.name in seen:
                continue
            seen.add(member.name)
            inputs = self._ledger.root(member.name).input_uri
            found.update((*areas(member), inputs))
            if not member.started_by:
                # What a task names for the run that it starts gives it nothing.
                found.update(self._named(inputs))
            # The run that it runs again, or recovers.
            ahead += self._known(member.spec.relation.related_to.name)
            for action in self._ledger.actions(member.name):
                if action.cached_from:
                    found.add(action.outputs)
                    ahead += self._known(action.cached_from.partition("/")[0])
        return found - {""}

    def _known(self, name: str) -> list[Run]:
        return [self._ledger.run(name)] if self._ledger.has_run(name) else []

    def _named(self, uri: str) -> Iterator[str]:
        """The addresses that a file of inputs names, if its own name is its digest: nobody has changed it since."""
        from flyteidl2.task.common_pb2 import Inputs
        from google.protobuf.message import DecodeError

        if not isinstance(self._store, ObjectStore):
            return
        try:
            path = self._store.path_of(uri)
            status = self._store.status(path)
            if status is None or status.st_size > _LARGEST:
                return
            content = path.read_bytes()
            if path.parent.name == hashlib.sha256(content).hexdigest():
                yield from addresses(Inputs.FromString(content))
        except (ObjectNameError, OSError, DecodeError):
            return


class RunAccess:
    """The access of one run's containers."""

    def __init__(self, reach: Reach, run: Run) -> None:
        self._reach = reach
        self._run = run

    def may_read(self, uri: str) -> bool:
        """By the rules of this module."""
        return self.may_write(uri) or uri.startswith(_BY_NAME) or _is_below(uri, self._reach.given(self._run))

    def may_list(self, prefix: str) -> bool:
        """By the rules of this module; a prefix that ends inside of a name could tell names next to it."""
        return (
            self.may_write(prefix.rstrip("/") if prefix.endswith("/") else prefix.rpartition("/")[0])
            or _FOLDER_UPLOAD.match(prefix) is not None
            or _is_below(prefix.rpartition("/")[0], self._reach.given(self._run))
        )

    def may_write(self, uri: str) -> bool:
        """By the rules of this module."""
        if _is_below(uri, areas(self._run)):
            return True
        return uri.startswith("s3://") and not _is_below(uri, (f"s3://{BUCKET}",)) and not self._reach.is_taken(uri)


def areas(run: Run) -> tuple[str, ...]:
    """Below what a run's own data lies, and no other's."""
    raw = run.spec.raw_data_storage.raw_data_prefix.rstrip("/")
    return (run.base, f"{raw}/{run.folder}") if raw else (run.base,)


def addresses(value: Any) -> Iterator[str]:
    """The addresses of objects in a message of the protocol, wherever they stand in it: in texts, in packed values."""
    if isinstance(value, str):
        yield from (found.rstrip("/") for found in _ADDRESS.findall(value))
    elif isinstance(value, bytes):
        # How the SDK packs dataclasses; what is packed otherwise names nothing.
        try:
            yield from addresses(msgpack.unpackb(value, strict_map_key=False))
        except (ValueError, msgpack.UnpackException, RecursionError):
            return
    elif isinstance(value, dict):
        for item in (*value.keys(), *value.values()):
            yield from addresses(item)
    elif hasattr(value, "ListFields"):
        for _, item in value.ListFields():
            yield from addresses(item)
    elif hasattr(value, "items"):
        yield from addresses(dict(value.items()))
    elif isinstance(value, Iterable):
        for item in value:
            yield from addresses(item)


def _is_below(uri: str, places: Iterable[str]) -> bool:
    return any(uri == place or uri.startswith(f"{place}/") for place in places)
