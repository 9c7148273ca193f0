"""Where a file's absolute imports start, told by what it imports."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct


class Place(Struct, frozen=True):
    """How a file is imported: by which name, with which folders before all others on the path."""

    file: Path
    name: str
    roots: tuple[Path, ...]


def named(file: Path) -> Place:
    """The place of a file that was asked for by name: as `python file.py` has it, unless it belongs to a package."""
    file = file.resolve()
    root = import_root(file, package_root(file))
    return Place(file, _module_name(root, file), (root,))


def found(file: Path, scanned: Path) -> Place:
    """The place of a file that was found in a folder: everything below that folder counts, it was asked for.

    Its name is the one that only this file has there, so that many folders may have a `main.py`.
    """
    file = file.resolve()
    base = package_root(scanned.resolve() / "_")
    if not file.is_relative_to(base):
        return named(file)
    root = import_root(file, base)
    is_importable = not any("." in part for part in file.relative_to(base).with_suffix("").parts)
    if not is_importable:
        root = file.parent
    name = _module_name(base if is_importable else root, file)
    if is_importable and _has(root, name.partition(".")[0]):
        # As in a project `x` with its code in `x/src/x`: from its root, the first part of its name is another one.
        name = _module_name(root, file)
    return Place(file, name, tuple(dict.fromkeys((root, base))))


def import_root(file: Path, base: Path) -> Path:
    """The folder that a file's absolute imports start from: `base`, above its packages, or one on the way there.

    `python file.py` also finds what lies beside a script, so a script that imports such a thing starts from its own
    folder. A file that imports what `base` has not starts from the nearest folder that has it.
    """
    wanted, is_relative = _imports(file)
    if is_relative:
        return base
    missing = [name for name in wanted if not _has(base, name) and not _is_installed(name)]
    for folder in _from(file.parent, base):
        is_script = folder == file.parent and not (folder / "__init__.py").exists()
        if any(_has(folder, name) for name in (wanted if is_script else missing)):
            return folder
    return base


def package_root(file: Path) -> Path:
    """The nearest folder above a file that is no package."""
    folder = file.resolve().parent
    while (folder / "__init__.py").exists():
        folder = folder.parent
    return folder


def _from(folder: Path, base: Path) -> Iterator[Path]:
    """Folders upwards, `base` excluded."""
    while folder != base:
        yield folder
        folder = folder.parent


def _imports(file: Path) -> tuple[set[str], bool]:
    """The modules that a file imports by their whole names, and whether it imports any by a relative one."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError):
        # Importing it will tell.
        return set(), False
    names: set[str] = set()
    is_relative = False
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            is_relative = True
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names, is_relative


def _has(folder: Path, name: str) -> bool:
    """Whether a folder holds a module's file, or a folder of modules of that name."""
    path = folder.joinpath(*name.split("."))
    try:
        return path.with_suffix(".py").is_file() or (path.is_dir() and any(path.glob("*.py")))
    except OSError:
        # What cannot be looked at cannot be imported.
        return False


def _is_installed(name: str) -> bool:
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names:
        return True
    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return False
    # A folder that is no package may be any folder of the current one, which `python -m` has on the path.
    return found is not None and found.origin is not None


def _module_name(root: Path, file: Path) -> str:
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
