"""Takes away runs that have ended: what is remembered of them, their logs, what their tasks wrote; then old versions of
deployed tasks, and the inputs and uploads, code among them, that nothing refers to any more.

Works on the data folder, whether a control plane runs on it or not: the one that runs notices. Outputs that cached
results point to stay until the results themselves are taken away. The same goes for a store of the user's own; what a
run wrote outside of both stays.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Collection, Container, Iterable
from dataclasses import dataclass
from pathlib import Path

from flytebuild.errors import ControlPlaneError
from flytebuild.runtime import references, remote_prune
from flytebuild.runtime.catalogue import TaskKey, versions
from flytebuild.runtime.home import OBJECTS
from flytebuild.runtime.journal import FILE_NAME, Database, Ended
from flytebuild.runtime.remote_prune import Emptied, Needed
from flytebuild.runtime.remote_store import RemoteStore
from flytebuild.runtime.retention import ASIDE, has_newer
from flytebuild.runtime.storage import BUCKET

_BELIEVED_SECONDS = 2 * 24 * 3600
"""The SDK believes for a day that what it has uploaded is there; so long, and as long again, nothing of it goes."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was taken away: runs, versions of tasks (`NAME@VERSION`), a number of inputs and uploads; all files' bytes.

    `kept_for_cache` are those of the runs whose outputs stay. `store` is the store of the user's own, if there is one.
    """

    runs: tuple[str, ...] = ()
    size: int = 0
    kept_for_cache: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    uploads: int = 0
    store: Emptied | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """What may go: runs that ended `before` a time, in epoch seconds, and are not among the newest `keep`; versions of
    a deployed task that are not among its newest `versions`. None leaves a condition out.

    `with_runs` and `with_cache` tell whether runs go at all, and cached results with them.
    """

    before: float | None = None
    keep: int | None = None
    versions: int | None = None
    with_runs: bool = True
    with_cache: bool = False


def prune(home: Path, rules: Rules, store: RemoteStore | None = None, *, is_rehearsal: bool = False) -> Pruned:
    """Take away what may go by the rules; a rehearsal only tells what would.

    Raises ControlPlaneError where the folder's journal cannot be read or written, or `store`, the user's own, does not
    tell what it has; nothing is taken away then.
    """
    if not (home / FILE_NAME).exists():
        return Pruned()
    try:
        database = Database(home / FILE_NAME, is_ours=False)
        try:
            return _prune(home, database, rules, store, is_rehearsal)
        finally:
            database.close()
    except sqlite3.Error as error:
        raise ControlPlaneError(f"The runs in `{home}` cannot be pruned: {error}") from error


def choose(ended: list[Ended], before: float | None, keep: int | None) -> list[Ended]:
    """Which of the runs that have ended go; `ended` has the oldest first."""
    beyond = ended[: max(len(ended) - keep, 0)] if keep is not None else ended
    return [run for run in beyond if before is None or run.ended < before]


def _prune(home: Path, database: Database, rules: Rules, store: RemoteStore | None, is_rehearsal: bool) -> Pruned:
    chosen = choose(database.ended(), rules.before, rules.keep) if rules.with_runs else []
    names = [run.name for run in chosen]
    cached = database.cached_folders()
    stays = database.staying_folders(names, rules.before) if rules.with_cache else cached
    folders = {run.folder for run in chosen if run.folder not in stays} | (cached - stays)
    referred, used = references.of_records(database.records(names))
    tasks = _old_versions(home, rules.versions, used)
    emptied = None
    if store is not None:
        deployed = references.of_documents(set(_inside(home / "tasks")) - set(tasks.values()))
        needed = Needed(database.folders() - folders, referred | deployed, time.time() - _BELIEVED_SECONDS)
        emptied = remote_prune.empty(store, folders, needed, is_rehearsal=is_rehearsal)
        if emptied.remaining:
            # What is remembered can be removed the next time.
            names = [run.name for run in chosen if run.folder not in emptied.remaining]
            folders -= emptied.remaining
            referred, _ = references.of_records(database.records(names))
    bucket = home / OBJECTS / BUCKET
    places = [*(home / "logs" / name for name in names), *(bucket / "runs" / name for name in folders)]
    shared = _unused(home, referred, {*places, *tasks.values()})
    size = sum(map(_size, (*places, *tasks.values(), *shared)))
    if not is_rehearsal:
        if rules.with_runs:
            database.forget(names, with_results=rules.with_cache, before=rules.before)
        # First forgotten, then removed: what is remembered is there.
        for path in tasks.values():
            path.unlink(missing_ok=True)
        _remove(home, (*places, *shared))
    kept_for_cache = tuple(run.name for run in chosen if run.folder in stays)
    return Pruned(tuple(names), size, kept_for_cache, tuple(sorted(tasks)), len(shared), emptied)


def _old_versions(home: Path, keep: int | None, used: Container[TaskKey]) -> dict[str, Path]:
    """The files of the versions beyond the newest of each deployed task, by their names; no kept run has used them."""
    if keep is None:
        return {}
    count = Counter[tuple[str, str, str]]()
    old = {}
    for key, path in versions(home / "tasks"):
        count[key.project, key.domain, key.name] += 1
        if count[key.project, key.domain, key.name] > keep and key not in used:
            old[f"{key.name}@{key.version}"] = path
    return old


def _unused(home: Path, referred: Collection[str], gone: Collection[Path]) -> list[Path]:
    """The inputs and uploads that nothing refers to which stays, and that no SDK believes to be there any more."""
    bucket = home / OBJECTS / BUCKET
    kept = (place for parent in (bucket / "runs", home / "tasks") for place in _inside(parent) if place not in gone)
    used = {*referred, *references.of_documents(kept)}
    folders = ((name, place) for name in references.SHARED for place in _inside(bucket / name) if place.is_dir())
    candidates = {f"{name}/{place.name}": place for name, place in folders}
    # A folder that was uploaded lies deeper; inputs name files and folders of uploads.
    candidates.pop("uploads/folders", None)
    cutoff = time.time() - _BELIEVED_SECONDS
    old = {name: place for name, place in candidates.items() if name not in used and not has_newer(place, cutoff)}
    used |= references.of_documents(place for name, place in candidates.items() if name not in old)
    return [place for name, place in old.items() if name not in used]


def _inside(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _size(folder: Path) -> int:
    if folder.is_file():
        return folder.stat().st_size
    return sum(
        os.lstat(os.path.join(where, name)).st_size
        for where, _, files in os.walk(folder)
        for name in files
        if os.path.lexists(os.path.join(where, name))
    )


def _remove(home: Path, places: Iterable[Path]) -> None:
    """Move folders aside, at once, and then remove them; what is left is removed at the next start."""
    aside = home / ASIDE
    for place in places:
        # A folder that leads elsewhere is the user's arrangement.
        if place.is_dir() and place.resolve().is_relative_to(home.resolve()) and not place.is_symlink():
            aside.mkdir(exist_ok=True)
            place.rename(aside / secrets.token_hex(8))
    shutil.rmtree(aside, ignore_errors=True)
