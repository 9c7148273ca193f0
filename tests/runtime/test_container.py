from __future__ import annotations

from dataclasses import replace

import pytest
from flyteidl2.core.literals_pb2 import KeyValuePair
from flyteidl2.core.tasks_pb2 import Resources

from flytebuild.runtime.container import CA_PATH, Order, OrderError, order, substitute
from flytebuild.runtime.model import Action, Attempt, Phase, Run, Transition
from tests.runtime import samples
from tests.runtime.conftest import SITE


def attempt(number: int = 1) -> Attempt:
    outputs = f"s3://flytebuild/runs/r1/a0/{number}"
    return Attempt(number, outputs, (Transition(Phase.QUEUED, samples.NOW),), "image:1")


def made(action: Action | None = None, run: Run | None = None, number: int = 1, **site: object) -> Order:
    return order(run or samples.run(), action or samples.action(), attempt(number), replace(SITE, **site))  # type: ignore[arg-type]


def test_placeholders_are_replaced_and_foreign_ones_stay() -> None:
    values = {"input": "s3://x", "runName": "r1"}
    assert substitute("{{.input}} {{ .runName }} {{.inputs.x}} {{.podName}}", values) == (
        "s3://x r1 {{.inputs.x}} {{.podName}}"
    )


def test_arguments_name_this_attempt() -> None:
    spec = samples.task_spec()
    spec.task_template.container.args.extend(["{{.prevCheckpointPrefix}}", "{{.runStartTime}}", "{{.actionName}}"])
    first, second = (made(samples.action(spec=spec), number=number).arguments for number in (1, 2))
    assert first[:5] == (
        *("a0", "--inputs", "s3://flytebuild/runs/r1/a0/inputs.pb"),
        *("--outputs-path", "s3://flytebuild/runs/r1/a0/1"),
    )
    assert first[5] == ""
    assert second[5] == "s3://flytebuild/runs/r1/a0/1/_flytecheckpoints"
    # Names of child actions are hashes over the start time: it must be the same for all attempts.
    assert first[6] == second[6] == "2026-01-31T12:00:00.123456Z"
    assert first[7] == "a0"


def test_raw_data_elsewhere_is_this_run_s_own() -> None:
    spec = samples.task_spec()
    spec.task_template.container.args.append("{{.rawOutputDataPrefix}}")
    places = set()
    for folder in ("r1-1111", "r1-2222"):
        run = replace(samples.run(), base=f"s3://flytebuild/runs/{folder}")
        run.spec.raw_data_storage.raw_data_prefix = "s3://elsewhere/raw/"
        places.add(made(samples.action(spec=spec), run).arguments[-1])
    assert places == {"s3://elsewhere/raw/r1-1111/a0/1", "s3://elsewhere/raw/r1-2222/a0/1"}


def test_precedence_of_variables() -> None:
    spec = samples.task_spec()
    for key, value in (("BOTH", "task"), ("TASK", "task"), ("RUN_NAME", "forged"), ("PIP_CERT", "/task.pem")):
        spec.task_template.container.env.append(KeyValuePair(key=key, value=value))
    run = samples.run(BOTH="run", RUN="run", ACTION_NAME="forged", FLYTE_DISABLE_TELEMETRY="0")
    found = made(samples.action(spec=spec), run, 2, has_ca_bundle=True).environment
    assert (found["BOTH"], found["TASK"], found["RUN"]) == ("task", "task", "run")
    assert (found["RUN_NAME"], found["ACTION_NAME"]) == ("r1", "a0")
    assert found["FLYTE_ATTEMPT_NUMBER"] == "1"
    assert found["FLYTE_DISABLE_TELEMETRY"] == "0"
    assert (found["PIP_CERT"], found["SSL_CERT_FILE"]) == ("/task.pem", CA_PATH)
    assert found["_U_EP_OVERRIDE"].startswith("http://host.docker.internal:8199/run/r1/a0/2/")


def test_without_a_bundle_nothing_is_said_about_trust() -> None:
    assert "SSL_CERT_FILE" not in made().environment


def test_limits_come_before_requests_and_end_at_the_machine() -> None:
    spec = samples.task_spec()
    entries = spec.task_template.container.resources
    entries.requests.add(name=Resources.CPU, value="500m")
    entries.requests.add(name=Resources.MEMORY, value="1Gi")
    entries.limits.add(name=Resources.MEMORY, value="2Gi")
    spec.task_template.extended_resources.shared_memory.size_limit = "64Mi"
    limits = made(samples.action(spec=spec)).limits
    assert (limits.nano_cpus, limits.memory, limits.shared_memory) == (500_000_000, 2 << 30, 64 << 20)
    entries.limits.add(name=Resources.CPU, value="64")
    assert made(samples.action(spec=spec)).limits.nano_cpus == SITE.cpus * 10**9


def test_labels_tell_whose_the_container_is() -> None:
    assert made().labels == {
        "dev.flytebuild.home": "/data",
        "dev.flytebuild.run": "r1",
        "dev.flytebuild.action": "a0",
        "dev.flytebuild.attempt": "1",
    }


def test_what_would_be_left_out_silently_is_refused() -> None:
    pod = samples.task_spec()
    pod.task_template.k8s_pod.primary_container_name = "main"
    unreadable = samples.task_spec()
    unreadable.task_template.container.resources.limits.add(name=Resources.MEMORY, value="much")
    for spec, words in ((pod, "k8s_pod"), (unreadable, "`much`")):
        with pytest.raises(OrderError, match=words):
            made(samples.action(spec=spec))
