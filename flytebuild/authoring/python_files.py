"""The Python files of a folder that have to do with flyte. Imports nothing of it, nor any of them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

_MENTIONS_FLYTE = re.compile(
    # At the start of a line, or after other statements in it, among other modules or alone; not in texts and comments.
    rb"""^(?:[^#'"\n]*[;:])?[ \t]*(?:from|import(?:[ \t]+[\w.]+(?:[ \t]+as[ \t]+\w+)?[ \t]*,)*)[ \t]+flyte\b""",
    re.MULTILINE,
)
MANY = 10_000
"""Folders that no project has; looking into them takes seconds."""

_SKIPPED = {"__pycache__", "node_modules", "site-packages", "build", "dist"}


def python_files(
    folder: Path, skip: Callable[[OSError], None], wander: Callable[[Path], None] = lambda _: None
) -> Iterator[Path]:
    """Every file below a folder that imports flyte, in order; `skip` is told of what cannot be read.

    `wander` is told, once, of a folder with so many folders in it that it may be the wrong one.
    """
    for number, (parent, folders, files) in enumerate(os.walk(folder, onerror=skip)):
        if number == MANY:
            wander(folder)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and name not in _SKIPPED
            and not os.path.exists(os.path.join(parent, name, "pyvenv.cfg"))
        )
        for name in sorted(files):
            file = Path(parent, name)
            if name.endswith(".py") and file.is_file() and _mentions_flyte(file, skip):
                yield file


def _mentions_flyte(file: Path, skip: Callable[[OSError], None]) -> bool:
    try:
        return _MENTIONS_FLYTE.search(file.read_bytes()) is not None
    except OSError as error:
        skip(error)
        return False
