"""Takes away what the control plane has made in a store of the user's own and nothing here needs any more.

A store may hold much else. So only what lies below the configured prefix counts, and of that only what has a name of
the forms that the control plane makes: `runs/FOLDER/…`, `inputs/NAME/…`, `uploads/NAME/…`, `uploads/folders/NAME/…`.
All of it is looked at before the first object goes.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain

from flytebuild.errors import ControlPlaneError
from flytebuild.runtime import references
from flytebuild.runtime.names import is_folder
from flytebuild.runtime.remote_store import RemoteStore
from flytebuild.runtime.storage import Entry, ObjectNameError, check_uri

_MADE = re.compile(rf"(?:runs/([^/]+)|({references.NAME}))/.+", re.DOTALL)
_DOCUMENTS = ("inputs.pb", "outputs.pb", "error.pb")
"""Files that may name others; what tasks write may be called `.pb` as well, and be of any size."""

_READERS = 16
"""Documents that are read at the same time."""


@dataclass(frozen=True, slots=True)
class Needed:
    """What stays: the `folders` of known runs, inputs and uploads by their `names`, and any that came after `since`.

    `names` are what kept runs and deployed tasks name, `since` is in epoch seconds.
    """

    folders: Collection[str]
    names: Collection[str]
    since: float


@dataclass(frozen=True, slots=True)
class Emptied:
    """What was taken away from the store at `base`: a number of objects, and their bytes.

    `refused` says why some could not be, by their keys, and `remaining` are the folders of runs that have some of
    these. `strangers` counts the folders of runs that are not known here: inputs and uploads stay for them.
    """

    base: str
    objects: int = 0
    size: int = 0
    refused: Mapping[str, str] = field(default_factory=dict)
    remaining: frozenset[str] = frozenset()
    strangers: int = 0


@dataclass(frozen=True, slots=True)
class Content:
    """What the control plane has made: objects of runs by their folders, of inputs and uploads by their names."""

    runs: Mapping[str, tuple[Entry, ...]]
    shared: Mapping[str, tuple[Entry, ...]]

    @property
    def entries(self) -> list[Entry]:
        """All of them."""
        return [*chain.from_iterable(self.runs.values()), *chain.from_iterable(self.shared.values())]


def empty(store: RemoteStore, folders: Collection[str], needed: Needed, *, is_rehearsal: bool = False) -> Emptied:
    """Take away the runs in `folders`, and the inputs and uploads that nothing needs then; a rehearsal only tells.

    Raises ControlPlaneError, and has taken nothing away, where the store does not tell what it has.
    """
    return asyncio.run(_empty(store, folders, needed, is_rehearsal))


def content_of(entries: Iterable[Entry], prefix: str) -> Content:
    """The objects of the forms that the control plane makes, no others.

    `prefix` is what keys begin with; it ends with a slash where it is not empty.
    """
    runs: dict[str, list[Entry]] = {}
    shared: dict[str, list[Entry]] = {}
    for entry in entries:
        made = _MADE.fullmatch(entry.key.removeprefix(prefix)) if entry.key.startswith(prefix) else None
        if made and made[1] and is_folder(made[1]):
            runs.setdefault(made[1], []).append(entry)
        elif made and made[2] and made[2] != "uploads/folders":
            shared.setdefault(made[2], []).append(entry)
    return Content(
        {name: tuple(several) for name, several in runs.items()},
        {name: tuple(several) for name, several in shared.items()},
    )


async def _empty(store: RemoteStore, folders: Collection[str], needed: Needed, is_rehearsal: bool) -> Emptied:
    try:
        content = await _listed(store)
        runs = {folder: entries for folder, entries in content.runs.items() if folder in folders}
        strangers = content.runs.keys() - runs.keys() - set(needed.folders)
        going = Content(runs, {} if strangers else await _unused(store, content, runs, needed))
    except (OSError, ObjectNameError) as error:
        raise ControlPlaneError(
            f"Nothing was removed, since `{store.base}` does not tell what it has: {error}",
            hint="it is the `storage` of the configuration; the variables or the profile of AWS's tools open it",
        ) from error
    gone, refused = (going.entries, {}) if is_rehearsal else await _remove(store, going)
    size = sum(entry.size for entry in gone)
    remaining = {folder for folder, entries in runs.items() if any(entry.key in refused for entry in entries)}
    return Emptied(store.base, len(gone), size, refused, frozenset(remaining), len(strangers))


async def _remove(store: RemoteStore, going: Content) -> tuple[list[Entry], dict[str, str]]:
    """Remove what goes: which objects have gone, and why others have not, by their keys.

    Where one of a run's has not, all inputs and uploads stay, since it may name them. Those that have come again since
    they were looked at stay as well.
    """
    tried = Content(going.runs, {}).entries
    refused = await store.remove([entry.key for entry in tried])
    if not refused and going.shared:
        now = (await _listed(store)).shared
        unchanged = {name: them for name, them in going.shared.items() if set(now.get(name, ())) == set(them)}
        shared = Content({}, unchanged).entries
        refused = await store.remove([entry.key for entry in shared])
        tried += shared
    return [entry for entry in tried if entry.key not in refused], refused


async def _listed(store: RemoteStore) -> Content:
    """Raises OSError."""
    places = [await store.entries(f"{store.base}/{place}") for place in ("runs", "inputs", "uploads")]
    return content_of(chain.from_iterable(places), check_uri(f"{store.base}/x")[1].removesuffix("x"))


async def _unused(
    store: RemoteStore, content: Content, gone: Collection[str], needed: Needed
) -> dict[str, tuple[Entry, ...]]:
    """The inputs and uploads that nothing names which stays. Raises OSError."""
    old = {
        name: entries
        for name, entries in content.shared.items()
        if name not in needed.names and all(entry.modified <= needed.since for entry in entries)
    }
    if not old:
        return {}
    kept = Content(
        {folder: entries for folder, entries in content.runs.items() if folder not in gone},
        {name: entries for name, entries in content.shared.items() if name not in old},
    )
    named = await _named_by(store, kept.entries)
    return {name: entries for name, entries in old.items() if name not in named}


async def _named_by(store: RemoteStore, entries: Iterable[Entry]) -> set[str]:
    """The inputs and uploads that the documents among some objects name. Raises OSError."""
    bucket, _ = check_uri(f"{store.base}/x")
    turn = asyncio.Semaphore(_READERS)

    async def read(key: str) -> set[str]:
        async with turn:
            return references.addresses(await store.read(f"s3://{bucket}/{key}") or b"")

    keys = [entry.key for entry in entries if entry.key.rpartition("/")[2] in _DOCUMENTS]
    return set[str]().union(*await asyncio.gather(*map(read, keys)))
