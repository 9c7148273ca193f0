"""Which tasks share warm containers, and what of an order is an attempt's own."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from flyteidl2.core.literals_pb2 import KeyValuePair
from flyteidl2.core.tasks_pb2 import Resources, ReusePolicy
from flyteidl2.task.task_definition_pb2 import TaskSpec

from flytebuild.runtime.container import Order, order
from flytebuild.runtime.model import Attempt, Phase, Run, Transition
from flytebuild.runtime.reuse import WARM_LABEL, Reuse
from tests.runtime import samples
from tests.runtime.conftest import SITE


def made(spec: TaskSpec, run: Run | None = None, **site: object) -> Order:
    attempt = Attempt(1, "s3://flytebuild/runs/r1/a0/1", (Transition(Phase.QUEUED, samples.NOW),), "image:1")
    return order(run or samples.run(), samples.action(spec=spec), attempt, replace(SITE, **site))  # type: ignore[arg-type]


def with_policy(**fields: object) -> TaskSpec:
    spec = samples.task_spec("gpu.work")
    policy = ReusePolicy(**fields)  # type: ignore[arg-type]
    policy.idle_ttl.FromTimedelta(timedelta(seconds=90))
    policy.scaledown_ttl.FromTimedelta(timedelta(seconds=40))
    spec.task_template.reuse_policy.CopyFrom(policy)
    return spec


def test_without_a_policy_every_attempt_has_its_own_container() -> None:
    assert made(samples.task_spec()).reuse is None


def test_a_policy_is_its_environment_s_or_its_run_s() -> None:
    spec = with_policy(min_replicas=1, max_replicas=3, concurrency=2)
    found = made(spec).reuse
    assert found == Reuse("gpu", least=1, most=3, concurrency=2, idle=90, scaledown=40)
    assert found.places == 6
    spec.task_template.reuse_policy.scope = ReusePolicy.RUN
    assert [made(spec, samples.run(name)).reuse.run for name in ("r1", "r2")] == ["r1", "r2"]  # type: ignore[union-attr]


def test_a_policy_as_older_sdks_write_it() -> None:
    spec = samples.task_spec("gpu.work")
    spec.task_template.type = "actor"
    numbers = {"parallelism": 2, "min_replica_count": 1, "replica_count": 3, "ttl_seconds": 90.0}
    spec.task_template.custom.update({"spec": {**numbers, "scaledown_ttl_seconds": None}})
    assert made(spec).reuse == Reuse("gpu", least=1, most=3, concurrency=2, idle=90, scaledown=90)


def test_warm_for_all_is_asked_of_a_run_or_of_the_control_plane() -> None:
    run = samples.run()
    run.spec.labels.values[WARM_LABEL] = "true"
    assert (
        made(samples.task_spec(), run).reuse
        == made(samples.task_spec(), is_warm=True).reuse
        == Reuse(run=run.name, concurrency=None)
    )


def test_runs_that_did_not_ask_for_it_share_nothing() -> None:
    found = [made(samples.task_spec(), samples.run(name), is_warm=True).reuse for name in ("r1", "r2")]
    assert found[0] != found[1]


def test_an_action_with_limits_of_its_own_shares_them_with_nobody() -> None:
    spec = samples.task_spec()
    spec.task_template.container.resources.limits.add(name=Resources.MEMORY, value="1Gi")
    found = made(spec, is_warm=True).reuse
    assert found is not None
    assert found.concurrency == 1


def test_what_is_an_attempt_s_own_is_named() -> None:
    spec = samples.task_spec()
    spec.task_template.container.env.append(KeyValuePair(key="MODE", value="fast"))
    spec.task_template.container.env.append(KeyValuePair(key="RUN_NAME", value="forged"))
    found = made(spec, samples.run(SEED="7"))
    assert {"ACTION_NAME", "RUN_NAME", "_U_RUN_BASE", "FLYTE_AWS_ACCESS_KEY_ID"} <= found.own
    common = {name: value for name, value in found.environment.items() if name not in found.own}
    assert common == {"FLYTE_DISABLE_TELEMETRY": "1", "PYTHONUNBUFFERED": "1", "SEED": "7", "MODE": "fast"}


def test_a_container_without_flyte_takes_one_action() -> None:
    spec = samples.task_spec()
    spec.task_template.container.data_config.enabled = True
    assert made(spec, is_warm=True).reuse is None
