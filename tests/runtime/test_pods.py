"""Tasks with a pod template, as the SDK sends them: what is taken of the pod, and what is told to be left out."""

from __future__ import annotations

import time
from typing import Any

import pytest
from connectrpc.errors import ConnectError
from flyteidl2.core.tasks_pb2 import Resources
from flyteidl2.task.task_definition_pb2 import TaskSpec
from google.protobuf.json_format import ParseDict

from flytebuild.runtime.container import Limits, order
from flytebuild.runtime.pods import LEFT_OUT, PodError, contained
from flytebuild.runtime.verdict import Exit
from flytebuild.runtime.web.pages import View, run_page
from flytebuild.runtime.web.values import Values
from tests.runtime import samples
from tests.runtime.conftest import SITE, ScriptedExecutor
from tests.runtime.test_app import create

PRIMARY: dict[str, Any] = {
    "name": "primary",
    "image": "image:1",
    "args": ["a0", "--inputs", "{{.input}}"],
    "env": [
        {"name": "MODE", "value": "fast"},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
    ],
    "resources": {
        "requests": {"cpu": "1", "smarter-devices/fuse": "1"},
        "limits": {"memory": "1Gi", "nvidia.com/gpu": "2"},
    },
}


def pod_task(**pod: Any) -> TaskSpec:
    """A task whose container is in a pod."""
    spec = samples.task_spec()
    del spec.task_template.container.args[:]
    spec.task_template.config["primary_container_name"] = "primary"
    ParseDict({"containers": [PRIMARY], **pod}, spec.task_template.k8s_pod.pod_spec)
    return spec


def test_the_primary_container_is_a_container_like_any_other() -> None:
    template = contained(pod_task()).task_template
    container = template.container
    assert (container.image, list(container.args)) == ("image:1", PRIMARY["args"])
    assert {item.key: item.value for item in container.env} == {"MODE": "fast"}
    assert [(item.name, item.value) for item in container.resources.requests] == [(Resources.CPU, "1")]
    made = order(samples.run(), samples.action(spec=contained(pod_task())), samples.attempt(), SITE)
    assert made.limits == Limits(nano_cpus=10**9, memory=1 << 30, gpus=2)
    assert template.config[LEFT_OUT] == "variable `NODE`, resource `smarter-devices/fuse`"


def test_what_has_no_counterpart_is_told() -> None:
    spec = pod_task(
        containers=[{**PRIMARY, "env": [], "resources": {}, "volumeMounts": []}, {"name": "sidecar", "image": "x"}],
        volumes=[{"name": "scratch", "emptyDir": {}}],
        nodeSelector={"disk": "ssd"},
    )
    spec.task_template.k8s_pod.metadata.labels["queue"] = "fast"
    told = contained(spec).task_template.config[LEFT_OUT]
    assert told.split(", ") == [
        "container `sidecar`",
        "`nodeSelector` of the pod",
        "`volumes` of the pod",
        "`volumeMounts` of its container",
        "labels",
    ]
    # The same words are on the page of a run.
    action = samples.action(spec=contained(spec))
    page = run_page(samples.run(), action, [View(action, Values(), Values(), ([], False))])
    assert "container `sidecar`" in page


def test_a_task_without_a_pod_stays_as_it_is() -> None:
    spec = samples.task_spec()
    assert contained(spec) is spec


def test_a_pod_without_its_primary_container_is_refused() -> None:
    with pytest.raises(PodError, match="no container `primary`"):
        contained(pod_task(containers=[{"name": "other"}]))


def test_a_run_of_it_starts_its_container(
    server: str, executor: ScriptedExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    executor.script = lambda _order, _number: Exit(0)
    for _ in range(2):
        create(server, pod_task())
    deadline = time.monotonic() + 30
    while len(executor.orders) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert executor.orders[0].image == "image:1"
    assert caplog.text.count("left out: variable `NODE`, resource `smarter-devices/fuse`") == 1
    with pytest.raises(ConnectError, match="no container `primary`"):
        create(server, pod_task(containers=[]))
