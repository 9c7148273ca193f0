"""What the control plane knows of runs, actions and attempts: values, and nothing that acts.

The numbers of `Phase` and `Kind` are those of Flyte's protocol, so that the adapters need no tables. Times are aware
and in UTC. Protobuf messages held here are never changed after they have been received.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import TYPE_CHECKING

from flytebuild.runtime.clock import CLOCK

if TYPE_CHECKING:
    from flyteidl2.core.literals_pb2 import Literal
    from flyteidl2.task.run_pb2 import RunSpec
    from flyteidl2.task.task_definition_pb2 import TaskSpec
    from flyteidl2.workflow.run_definition_pb2 import ConditionAction, TraceAction

ROOT = "a0"
"""The name that Flyte gives to a run's first action."""


class Phase(IntEnum):
    """Where an action, or one attempt of it, stands."""

    QUEUED = 1
    WAITING_FOR_RESOURCES = 2
    INITIALIZING = 3
    RUNNING = 4
    SUCCEEDED = 5
    FAILED = 6
    ABORTED = 7
    TIMED_OUT = 8
    PAUSED = 9
    RECOVERED = 10

    @property
    def is_terminal(self) -> bool:
        """Whether nothing follows."""
        return self in _TERMINAL


_TERMINAL = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.ABORTED, Phase.TIMED_OUT, Phase.RECOVERED})


class Cache(IntEnum):
    """What the cache of results had to do with an action."""

    DISABLED = 0
    MISS = 1
    HIT = 2
    POPULATED = 3
    PUT_FAILURE = 5
    SKIPPED = 6


class Kind(IntEnum):
    """What an action executes."""

    TASK = 1
    TRACE = 2
    CONDITION = 3


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed. `code` is Flyte's: the SDK chooses the exception's class by it.

    `is_system` tells our fault or the machine's from the user's; only a recoverable failure is retried.
    """

    code: str
    message: str
    is_system: bool = False
    is_recoverable: bool = False


@dataclass(frozen=True, slots=True)
class Transition:
    """An attempt entered `phase` at `at`."""

    phase: Phase
    at: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at an action; `number` counts from 1.

    `outputs` is the prefix below which the task writes. `image` is the reference that the task names, `image_id`
    the digest that the engine really ran. `waiting_for` says what keeps its container from starting. Each None before
    it was so: `pulled` is when an image was there that had to be pulled, `begun` when its turn to start came, `heard`
    when its container's first request did.
    """

    number: int
    outputs: str
    transitions: tuple[Transition, ...]
    image: str = ""
    image_id: str | None = None
    container: str | None = None
    waiting_for: str = ""
    pulled: datetime | None = None
    begun: datetime | None = None
    heard: datetime | None = None
    exit_code: int | None = None
    failure: Failure | None = None

    @property
    def phase(self) -> Phase:
        """The phase entered last."""
        return self.transitions[-1].phase

    @property
    def created(self) -> datetime:
        """When the attempt was queued."""
        return self.transitions[0].at

    @property
    def started(self) -> datetime | None:
        """When its container ran, or None when it never did."""
        return next((step.at for step in self.transitions if step.phase is Phase.RUNNING), None)

    @property
    def ended(self) -> datetime | None:
        """When it reached a terminal phase."""
        last = self.transitions[-1]
        return last.at if last.phase.is_terminal else None


@dataclass(frozen=True, slots=True)
class ActionKey:
    """An action's identity: names of runs are unique in one control plane, names of actions in their run."""

    run: str
    name: str


@dataclass(frozen=True, slots=True)
class Action:
    """One execution of a task, a traced function that a task reported, or a condition that it waits for.

    `input_uri` is the file of inputs; attempts write below `output_base`. `outputs` is set when the action has
    succeeded: the prefix of a task's outputs, or the very file of a trace's. `cache_key` is empty for a task whose
    results are not cached; `cached_from` names the run and the action that a result was taken from.
    """

    key: ActionKey
    parent: str | None
    kind: Kind
    input_uri: str
    output_base: str
    created: datetime
    group: str = ""
    task: TaskSpec | None = None
    trace: TraceAction | None = None
    condition: ConditionAction | None = None
    phase: Phase = Phase.QUEUED
    attempts: tuple[Attempt, ...] = ()
    ended: datetime | None = None
    failure: Failure | None = None
    abort_reason: str | None = None
    outputs: str = ""
    value: Literal | None = None
    cache_key: str = ""
    cache: Cache = Cache.DISABLED
    cached_from: str = ""

    @property
    def task_name(self) -> str:
        """The task's full name, `environment.function`; of a trace, the function's; of a condition, its own."""
        if self.task is not None:
            return str(self.task.task_template.id.name)
        named = self.trace or self.condition
        return str(named.name) if named is not None else ""

    @property
    def environment(self) -> str:
        """The environment that the task belongs to; empty for a trace."""
        if self.task is None:
            return ""
        return str(self.task.environment.name) or self.task_name.rpartition(".")[0]

    def attempt_outputs(self, number: int) -> str:
        """The prefix below which an attempt writes."""
        return f"{self.output_base.rstrip('/')}/{self.key.name}/{number}"

    @property
    def last(self) -> Attempt | None:
        """The newest attempt."""
        return self.attempts[-1] if self.attempts else None


@dataclass(frozen=True, slots=True)
class Run:
    """A run: what all its actions share. `base` is the prefix that its data lies below, and no other run's.

    `started` reaches every container unchanged: the names of child actions are hashes that cover it. `started_by` is
    the run whose task has started this one; empty for a run that the owner has started.
    """

    name: str
    org: str
    project: str
    domain: str
    base: str
    started: datetime
    spec: RunSpec
    started_by: str = ""

    @property
    def folder(self) -> str:
        """The last part of `base`: as unique, for what lies elsewhere."""
        return self.base.rpartition("/")[2]


def now() -> datetime:
    """The time, as this package keeps it."""
    return CLOCK.now()
