"""The layers that everything waits for, and of which build that is said."""

from __future__ import annotations

from msgspec import Struct

from flytebuild.plan import Plan
from flytebuild.plan.durations import critical_path, critical_path_to_build
from flytebuild.plan.experience import Experience

MARK = "critical path"
"""What is said of each of these layers."""


class Critical(Struct, frozen=True):
    """The digests of layers that take longest together, and a line for the drawing's legend; nothing where none do."""

    layers: frozenset[str] = frozenset()
    legend: str = ""


def critical(plan: Plan, experience: Experience) -> Critical:
    """The critical path of what is to be built, where layers of that were timed, else of building everything anew."""
    if found := critical_path_to_build(plan, experience):
        return Critical(frozenset(found), "of what is to be built")
    found = critical_path(plan, experience)
    return Critical(frozenset(found), "of building everything anew") if found else Critical()
