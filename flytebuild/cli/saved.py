"""Files of saved plans."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from flytebuild.config import Config
from flytebuild.errors import OutputError, UsageError
from flytebuild.plan import Plan
from flytebuild.plan.forecast import Forecast
from flytebuild.saved_plan import SavedPlan, restore, save
from flytebuild.whole_file import write_whole


def write(
    file: Path,
    plan: Plan,
    config: Config,
    paths: Sequence[Path],
    targets: Sequence[str],
    forecast: Forecast | None = None,
) -> None:
    """Keep a plan, whole or not at all. Raises OutputError where it cannot be written."""
    folder = file.absolute().parent
    asked = [_from(folder, path) for path in paths]
    lock = _from(folder, config.lock) if config.lock and config.lock.is_file() else None
    document = save(plan, asked, targets, config.registry, config.platforms, config.wheel_layers, lock, forecast)
    text = json.dumps(document, indent=2, ensure_ascii=False)
    try:
        if file.exists() and not file.is_file():
            # A pipe or a device is written to, and not put a file in the place of.
            file.write_text(text + "\n", encoding="utf-8")
            return
        write_whole(file, text + "\n")
    except OSError as error:
        raise unwritable(file, error) from error


def unwritable(file: Path, error: OSError) -> OutputError:
    """What is told of a file that was asked for and that cannot be written."""
    hint = None if file.parent.exists() else f"make the folder `{file.parent}` first"
    return OutputError(f"`{file}` cannot be written: {error.strerror}", hint=hint)


class Kept(Struct, frozen=True):
    """A saved plan and the file that it was read from."""

    file: Path
    plan: SavedPlan

    @property
    def paths(self) -> tuple[Path, ...]:
        """Where its code is."""
        return tuple(self.file.absolute().parent / path for path in self.plan.paths)

    @property
    def flags(self) -> dict[str, Any]:
        """The settings that it was made with, and that decide what images are called.

        A lock that is gone is none of them: without it the plan does not hold, and what has drifted is told.
        """
        lock = Path(os.path.normpath(self.file.absolute().parent / self.plan.lock)) if self.plan.lock else None
        return {
            "registry": self.plan.registry or "",
            "platforms": self.plan.platforms,
            "wheel_layers": self.plan.wheel_layers,
            "lock": str(lock) if lock and lock.is_file() else None,
        }


def find(paths: Sequence[Path]) -> Kept | None:
    """The saved plan that is given in the place of code, if it is one: a single file that is no Python.

    Raises UsageError for a file that cannot be read or holds no saved plan, or is not there and can be nothing else.
    """
    for path in paths:
        if path.suffix == ".json" and not path.exists():
            raise _missing(path)
    file = next((path for path in paths if path.is_file() and path.suffix != ".py"), None)
    if file is None:
        return None
    if len(paths) > 1:
        raise UsageError(f"`{file}` is not Python, and a saved plan is given alone")
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"`{file}` cannot be read: {error.strerror}") from error
    except ValueError:
        document = None
    return Kept(file, restore(document, str(file)))


def _missing(path: Path) -> UsageError:
    folder = path.parent if path.parent.is_dir() else Path()
    nearest = difflib.get_close_matches(path.name, [item.name for item in folder.glob("*.json")], 1)
    meant = f"did you mean `{folder / nearest[0]}`?" if nearest else "`flytebuild plan -o FILE` writes one"
    return UsageError(f"There is no saved plan `{path}`", hint=meant)


def _from(folder: Path, path: Path) -> str:
    """A path as it is seen from the plan's folder: the two may move together."""
    return Path(os.path.relpath(path.absolute(), folder)).as_posix()
