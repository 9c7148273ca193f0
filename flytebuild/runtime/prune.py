"""Takes away runs that have ended: what is remembered of them, their logs, what their tasks wrote.

Works on the data folder, whether a control plane runs on it or not: the one that runs notices. Outputs that cached
results point to stay until the results themselves are taken away. What a run wrote outside of the data folder, code
bundles and uploads stay as well.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from flytebuild.errors import ControlPlaneError
from flytebuild.runtime.journal import FILE_NAME, Database, Ended
from flytebuild.runtime.retention import ASIDE
from flytebuild.runtime.storage import BUCKET, OBJECTS


@dataclass(frozen=True, slots=True)
class Pruned:
    """The runs that were taken away, the bytes of their files, and those whose outputs stay for the cache."""

    runs: tuple[str, ...] = ()
    size: int = 0
    kept_for_cache: tuple[str, ...] = ()


def prune(
    home: Path, *, before: float | None, keep: int | None, with_cache: bool = False, is_rehearsal: bool = False
) -> Pruned:
    """Take away the runs that ended before a time, in epoch seconds, and are not among the newest `keep`.

    None leaves a condition out. A rehearsal only tells what would go. Raises ControlPlaneError where the folder's
    journal cannot be read or written.
    """
    if not (home / FILE_NAME).exists():
        return Pruned()
    try:
        database = Database(home / FILE_NAME, is_ours=False)
        try:
            return _prune(home, database, before, keep, with_cache, is_rehearsal)
        finally:
            database.close()
    except sqlite3.Error as error:
        raise ControlPlaneError(f"The runs in `{home}` cannot be pruned: {error}") from error


def choose(ended: list[Ended], before: float | None, keep: int | None) -> list[Ended]:
    """Which of the runs that have ended go; `ended` has the oldest first."""
    beyond = ended[: max(len(ended) - keep, 0)] if keep is not None else ended
    return [run for run in beyond if before is None or run.ended < before]


def _prune(
    home: Path, database: Database, before: float | None, keep: int | None, with_cache: bool, is_rehearsal: bool
) -> Pruned:
    chosen = choose(database.ended(), before, keep)
    names = [run.name for run in chosen]
    cached = database.cached_folders()
    stays = database.staying_folders(names, before) if with_cache else cached
    folders = {run.folder for run in chosen if run.folder not in stays} | (cached - stays)
    places = [*(home / "logs" / name for name in names), *(home / OBJECTS / BUCKET / "runs" / name for name in folders)]
    size = sum(map(_size, places))
    if not is_rehearsal:
        database.forget(names, with_results=with_cache, before=before)
        # First forgotten, then removed: what is remembered is there.
        _remove(home, places)
    return Pruned(tuple(names), size, tuple(run.name for run in chosen if run.folder in stays))


def _size(folder: Path) -> int:
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
