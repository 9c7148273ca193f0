"""What is checked: environments with their tasks and images, and what is known of live objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol, TypeAlias

from msgspec import Struct, field

from flytebuild.noted import Noted
from flytebuild.spec.model import Definition

Kind: TypeAlias = Literal["map", "run", ""]
"""What one of Flyte's own functions does with a task that it is given: calls it, starts a run of its own, neither."""


class Task(Noted, frozen=True):
    """A task by its name (`environment.task`) and the function behind it; None for a container task.

    `is_built` tells that its image is made, and not used as it is: only a run that knows the environment can name it.
    """

    name: str
    environment: str
    function: object | None = None
    is_built: bool = True

    NOTES = ("function", "is_built")


class Subject(Struct, frozen=True):
    """One environment. `origin` is where it is written, `roots` the folders that its modules are imported from.

    `functions` are those that run in its containers and are no tasks, such as an app's server.
    """

    name: str
    origin: str
    depends_on: tuple[str, ...]
    tasks: tuple[Task, ...]
    image: Definition
    roots: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    functions: tuple[object, ...] = ()


class Known(Protocol):
    """What is known of live objects."""

    def task(self, value: object) -> Task | None:
        """The task that a value is; None for anything else, references to deployed tasks included."""

    def kind(self, value: object) -> Kind:
        """What one of Flyte's functions does with a task."""

    def is_users(self, file: str) -> bool:
        """Whether a file is the user's own code."""
