"""The user's own files among the modules that are loaded: the code that a run brings along."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path


def loaded_files(root: Path) -> dict[str, Path]:
    """The source files of loaded modules below `root`, by their paths from there; nothing that is installed."""
    root = root.resolve()
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")}
    found: dict[str, Path] = {}
    for module in list(sys.modules.values()):
        name = getattr(module, "__file__", None)
        file = Path(name).resolve() if isinstance(name, str) else None
        if file and file.is_relative_to(root) and file.is_file() and not any(map(file.is_relative_to, installed)):
            found[file.relative_to(root).as_posix()] = file
    return dict(sorted(found.items()))
