"""How long the data folder keeps what runs left: logs, outputs and inputs that nothing has touched for `KEEP_DAYS`.

Code bundles and uploaded files stay, since tasks that are deployed name them (`flytebuild runs prune` finds those that
nothing names any more); so does whatever else the user's tasks wrote. The folders of runs under way and of cached
results stay as well.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import threading
from collections.abc import Collection
from pathlib import Path

from flytebuild.runtime.home import OBJECTS
from flytebuild.runtime.storage import BUCKET

log = logging.getLogger(__name__)

KEEP_DAYS = 30
_KEPT_PER_RUN = ("logs", f"{OBJECTS}/{BUCKET}/runs", f"{OBJECTS}/{BUCKET}/inputs")
ASIDE = ".expired"


def expire(home: Path, now: float, kept: Collection[str] = ()) -> int:
    """Move what is too old aside, at once, and remove it later, in a thread; how many folders that were.

    `now` is in seconds since the epoch; folders whose names are in `kept` stay. Belongs before the first request: a
    run must not meet it.
    """
    cutoff = now - KEEP_DAYS * 24 * 3600
    aside = home / ASIDE
    moved = 0
    for place in _KEPT_PER_RUN:
        folder = home / place
        # A folder that leads elsewhere is the user's arrangement, and not ours to tidy.
        if not folder.is_dir() or folder.resolve() != home.resolve() / place:
            continue
        for entry in _entries(folder):
            if entry.name in kept:
                continue
            try:
                if entry.is_dir(follow_symlinks=False) and not has_newer(entry.path, cutoff):
                    aside.mkdir(exist_ok=True)
                    os.rename(entry.path, aside / secrets.token_hex(8))
                    moved += 1
            except OSError as error:
                log.warning("`%s` is old, but cannot be moved aside: %s", entry.path, error)
    if aside.is_dir() and not aside.is_symlink():
        threading.Thread(target=shutil.rmtree, args=(aside, True), name="expired", daemon=True).start()
    return moved


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder; tidying it never decides whether the control plane starts."""
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError as error:
        log.warning("`%s` cannot be looked at: %s", folder, error)
        return []


def has_newer(path: str | os.PathLike[str], cutoff: float) -> bool:
    """Whether a folder, or anything below it, has changed after `cutoff`; follows no links."""
    if os.lstat(path).st_mtime > cutoff:
        return True
    with os.scandir(path) as entries:
        return any(
            has_newer(entry.path, cutoff)
            if entry.is_dir(follow_symlinks=False)
            else entry.stat(follow_symlinks=False).st_mtime > cutoff
            for entry in entries
        )
