"""What tasks would be refused for when they start, told before images are built for them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from flytebuild.authoring.wishes import Wish
from flytebuild.runtime.admission import Capacity, demand, excess


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a task would not start, in one sentence, and what to do."""

    task: str
    message: str
    hint: str


def refusals(wishes: Iterable[Wish], capacity: Capacity, missing: Mapping[str, str]) -> Iterator[Refusal]:
    """One for each thing that a task asks for and that is not there.

    `capacity` is what the machine has, `missing` says of secrets that were not found where they might be put.
    """
    from flyteidl2.core.tasks_pb2 import Container

    for wish in wishes:
        for name in wish.secrets:
            if name in missing:
                why, _, hint = missing[name].partition("; ")
                yield Refusal(wish.task, f"`{wish.task}` asks for the secret `{name}`, and {why}", hint)
        try:
            asked = demand(Container(resources=wish.resources)).asked
        except ValueError:
            continue
        if beyond := excess(asked, capacity):
            hint = "ask for less with `flyte.Resources(…)`, or run it where there is more"
            yield Refusal(wish.task, f"`{wish.task}` asks for {beyond}", hint)
