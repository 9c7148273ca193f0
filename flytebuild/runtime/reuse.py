"""Which tasks share warm containers, and how: read from a task's `flyte.ReusePolicy`, or asked for with `--warm`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flytebuild.runtime.model import Run
from flytebuild.runtime.verdict import seconds

if TYPE_CHECKING:
    from flyteidl2.core.tasks_pb2 import TaskTemplate

WARM_LABEL = "flytebuild-warm"
"""The label of a run that wants warm containers for all of its tasks; its value is `true`."""

_WARM_IDLE = 300.0
"""Seconds after which a container ends that has nothing to do, where only `--warm` asked for it."""

_IDLE = 30.0
"""The same where an old SDK sends no other number; Flyte's own default."""


@dataclass(frozen=True, slots=True)
class Reuse:
    """How the containers of a pool are used again; times are in seconds.

    `pool` tells pools apart that could share containers otherwise, and `run` is the run whose actions alone share them;
    empty where the task's policy has them shared by all runs. A container has room for `concurrency` actions at
    the same time, None being any number; `most` containers work at the same time, None being as many as fit. One that
    is idle ends after `idle`, and after `scaledown` where there are `least` others.
    """

    pool: str = ""
    run: str = ""
    least: int = 0
    most: int | None = None
    concurrency: int | None = 1
    idle: float = _WARM_IDLE
    scaledown: float = _WARM_IDLE

    @property
    def places(self) -> int | None:
        """So many actions work at the same time, those not counted that wait for others."""
        return None if self.most is None or self.concurrency is None else self.most * self.concurrency


def reuse(run: Run, template: TaskTemplate, environment: str, *, is_warm: bool, is_limited: bool) -> Reuse | None:
    """How a task's containers are used again, or None where each attempt has its own.

    Runs are kept apart unless the policy says otherwise. A container that nothing limits is shared by any number of
    actions at the same time. Where there are limits, these are each action's own, and only the policy says that some
    share them.
    """
    if found := _policy(template):
        least, most, concurrency, idle, scaledown = found
        most = max(most, 1)
        return Reuse(
            environment,
            run.name if _is_for_a_run(template) else "",
            min(least, most),
            most,
            max(concurrency, 1),
            idle or _IDLE,
            scaledown or idle or _IDLE,
        )
    if is_warm or run.spec.labels.values.get(WARM_LABEL) == "true":
        return Reuse(run=run.name, concurrency=1 if is_limited else None)
    return None


def _policy(template: TaskTemplate) -> tuple[int, int, int, float, float] | None:
    """Least, most, concurrency, idle and scaledown: from the field, or from where older SDKs write them."""
    if template.HasField("reuse_policy"):
        policy = template.reuse_policy
        idle, scaledown = seconds(policy.idle_ttl), seconds(policy.scaledown_ttl)
        return policy.min_replicas, policy.max_replicas, policy.concurrency, idle, scaledown
    if template.type != "actor":
        return None
    from google.protobuf.json_format import MessageToDict

    spec = MessageToDict(template.custom).get("spec") or {}

    def number(name: str) -> float:
        return float(spec.get(name) or 0)

    least, most, concurrency = (int(number(name)) for name in ("min_replica_count", "replica_count", "parallelism"))
    return least, most, concurrency, number("ttl_seconds"), number("scaledown_ttl_seconds")


def _is_for_a_run(template: TaskTemplate) -> bool:
    policy = template.reuse_policy
    return bool(policy.scope == policy.RUN)
