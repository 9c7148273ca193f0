"""Loading the code that a command was given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flytebuild.cli.here import or_here

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flytebuild.authoring.environments import Definitions
    from flytebuild.config import Config
    from flytebuild.errors import DefinitionError


def definitions(settings: Config, paths: tuple[Path, ...]) -> Definitions:
    """What the code at the paths, or in the current folder, defines; only to look at it, not to run it.

    Belongs before there is an event loop, which would keep Ctrl-C from a module that takes its time. Errors as in
    `flytebuild.authoring.loader.load`.
    """
    from flytebuild.authoring.loader import load
    from flytebuild.cli.console import notice

    return load(or_here(paths), notice, stand_in=not settings.strict_imports)


def refuse(problems: Sequence[DefinitionError]) -> None:
    """Raise what could not be used of the code, if anything; belongs after what could be has been shown."""
    from flytebuild.authoring.environments import refuse

    refuse(problems)
