"""What a run would fail on, told before anything is built for it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING

from flytebuild.errors import DefinitionError

if TYPE_CHECKING:
    from flytebuild.authoring.environments import Definitions


def refuse(definitions: Definitions, task: str, missing: Mapping[str, str]) -> None:
    """Raise DefinitionError where a run's first task cannot start; tell what others ask for in vain, if it calls them.

    `missing` are the secrets that nobody has, and why.
    """
    from flytebuild.authoring.wishes import wishes
    from flytebuild.cli.console import notice
    from flytebuild.engine import connect
    from flytebuild.events import Notice
    from flytebuild.runtime.admission import capacity_of
    from flytebuild.runtime.foresight import refusals

    with closing(connect()) as engine:
        capacity = capacity_of(engine.info())
    for refusal in refusals(wishes(definitions, definitions.walk([task])), capacity, missing):
        if refusal.task == task:
            raise DefinitionError(refusal.message, hint=refusal.hint)
        notice(Notice(f"{refusal.message}; a run that calls it fails"))
