"""The Python files of a folder that have to do with flyte. Imports nothing of it, nor any of them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

_MENTIONS_FLYTE = re.compile(rb"^\s*(?:import|from)\s+flyte\b", re.MULTILINE)
_SKIPPED = {"__pycache__", "node_modules", "site-packages", "build", "dist"}


def python_files(folder: Path, skip: Callable[[OSError], None]) -> Iterator[Path]:
    """Every file below a folder that imports flyte, in order; `skip` is told of what cannot be read."""
    for parent, folders, files in os.walk(folder, onerror=skip):
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
