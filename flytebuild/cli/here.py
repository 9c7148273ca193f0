"""The current folder, for commands that are given no path."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from flytebuild.errors import UsageError

_MARKS = ("pyproject.toml", "flytebuild.toml")
"""What makes a project of a folder, wherever it is."""


def or_here(given: tuple[Path, ...]) -> tuple[Path, ...]:
    """The paths given, or the current folder.

    Raises UsageError where that is a home folder or the root of all, and no project: all in it would be imported.
    """
    here = Path.cwd()
    if not given and _is_everything(here):
        raise UsageError(
            f"`{here}` is no project, and all Python in it would be imported",
            hint="go to your project's folder, or give a file or a folder; `.` means this one",
        )
    return given or (Path("."),)


def _is_everything(folder: Path) -> bool:
    """Whether a folder is the user's home, or the root of all, and is not marked as a project."""
    places = [Path(folder.anchor)]
    with suppress(RuntimeError):  # Some users of containers have no home.
        places.append(Path.home().resolve())
    return folder.resolve() in places and not any((folder / name).is_file() for name in _MARKS)
