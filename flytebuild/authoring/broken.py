"""Files that fail to import for one and the same reason: a module of the user's that is no Python."""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping

from flytebuild.authoring.site import relative
from flytebuild.errors import DefinitionError, LoadError


def told_once(failed: Mapping[str, DefinitionError]) -> dict[str, DefinitionError]:
    """The errors of files that cannot be imported, with one for all that import the same broken module.

    It names that module, and which file imports it, or how many do.
    """
    groups: dict[tuple[str, int | None, str], list[str]] = {}
    for file, error in failed.items():
        cause = error.__cause__
        if isinstance(cause, SyntaxError) and cause.filename:
            place = os.path.realpath(cause.filename), cause.lineno, cause.msg
            # What `exec` was given is in no file.
            if os.path.isfile(place[0]):
                groups.setdefault(place, []).append(file)
    made = dict(failed)
    for (broken, _, _), files in groups.items():
        importers = [file for file in files if file != broken]
        if importers:
            made.update(dict.fromkeys(files, _error(broken, importers, failed[files[0]].__cause__)))
    return made


def _error(broken: str, importers: list[str], cause: BaseException | None) -> LoadError:
    name = relative(broken)
    users = f"`{relative(importers[0])}` imports it" if len(importers) == 1 else f"{len(importers)} files import it"
    made = LoadError(
        f"`{name}` fails to import: {type(cause).__name__}: {cause}; {users}",
        traceback="".join(traceback.format_exception_only(cause)).rstrip() if cause else "",
        hint=f"`python {name}` shows it as well",
    )
    made.__cause__ = cause
    return made
