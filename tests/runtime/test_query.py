"""What the SDK finds on a control plane: listings, conditions, reports and code, by the SDK in a process of its own."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from connectrpc.errors import ConnectError
from flyteidl2.actions import actions_service_pb2 as actions_pb
from flyteidl2.actions.actions_service_connect import ActionsServiceClientSync
from flyteidl2.common.identifier_pb2 import ActionIdentifier, RunIdentifier
from flyteidl2.common.list_pb2 import Filter, ListRequest
from flyteidl2.common.run_pb2 import OffloadedInputData
from flyteidl2.core.types_pb2 import LiteralType, SimpleType
from flyteidl2.dataproxy import dataproxy_service_pb2 as data_pb
from flyteidl2.dataproxy.dataproxy_service_connect import DataProxyServiceClientSync
from flyteidl2.task.task_definition_pb2 import TaskIdentifier, TaskName, TaskSpec
from flyteidl2.workflow import run_service_pb2 as pb
from flyteidl2.workflow.run_definition_pb2 import ConditionAction
from flyteidl2.workflow.run_service_connect import RunServiceClientSync

from flytebuild.runtime import flyte_config
from flytebuild.runtime.container import Order
from flytebuild.runtime.flyte_config import DOMAIN, ORG, PROJECT
from flytebuild.runtime.verdict import Exit
from tests import plain
from tests.runtime import samples
from tests.runtime.conftest import ScriptedExecutor
from tests.runtime.test_app import child, ended

LOOK = Path(__file__).with_name("workflow") / "look.py"


def create(server: str, name: str, spec: TaskSpec, **labels: str) -> RunIdentifier:
    run = RunIdentifier(org=ORG, project=PROJECT, domain=DOMAIN, name=name)
    request = pb.CreateRunRequest(
        run_id=run, task_spec=spec, offloaded_input_data=OffloadedInputData(uri="s3://flytebuild/inputs/x")
    )
    request.run_spec.labels.values.update(labels)
    RunServiceClientSync(server).create_run(request)
    return run


def upload_code(server: str) -> str:
    """A bundle of one file, as the SDK sends it; its address."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        member = tarfile.TarInfo("main.py")
        member.size = 8
        archive.addfile(member, io.BytesIO(b"answer=1"))
    digest = hashlib.md5(content.getvalue()).digest()
    answer = DataProxyServiceClientSync(server).create_upload_location(
        data_pb.CreateUploadLocationRequest(filename="code.tar.gz", content_md5=digest)
    )
    plain.put(answer.signed_url, content=content.getvalue()).raise_for_status()
    return str(answer.native_url)


def condition(run: RunIdentifier) -> actions_pb.EnqueueRequest:
    asked = ConditionAction(name="go", type=LiteralType(simple=SimpleType.BOOLEAN))
    identifier = ActionIdentifier(run=run, name="c2")
    action = actions_pb.Action(action_id=identifier, parent_action_name="a0", condition=asked)
    return actions_pb.EnqueueRequest(action=action)


def test_what_the_sdk_finds(server: str, executor: ScriptedExecutor, tmp_path: Path) -> None:
    def end(order: Order, _number: int) -> Exit | None:
        if (order.environment["RUN_NAME"], order.environment["ACTION_NAME"]) not in (("first", "a0"), ("second", "c1")):
            return None
        target = tmp_path / "objects" / order.arguments[order.arguments.index("--outputs-path") + 1][5:]
        target.mkdir(parents=True)
        (target / "report.html").write_text("<p>seen</p>")
        return Exit(0)

    executor.script = end
    first = create(server, "first", samples.task_spec("env.other"), team="red")
    ended(server, first)
    spec = samples.task_spec()
    spec.task_template.id.version = "v1"
    spec.task_template.container.args.extend(["--tgz", upload_code(server), "--dest", "."])
    second = create(server, "second", spec, team="blue")
    create(server, "also", samples.task_spec())
    enqueue = ActionsServiceClientSync(server).enqueue
    enqueue(child(second))
    enqueue(condition(second))
    ended(server, second, "c1")

    config = tmp_path / "config.yaml"
    flyte_config.write(server, config)
    own = {"FLYTECTL_CONFIG": str(config), "FLYTE_DISABLE_TELEMETRY": "1"}
    others = {name: value for name, value in os.environ.items() if not name.startswith("FLYTE")}
    done = subprocess.run(
        [sys.executable, str(LOOK), "first", "second"],
        env={**others, **own, "FLYTEBUILD_HOME": str(tmp_path / "home")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    every = ["first", "second", "also"]
    assert found["runs"] == {
        "oldest first": every,
        "newest first": every[::-1],
        "by name": ["also", "first", "second"],
        "two": ["first", "second"],
        "succeeded": ["first"],
        "recovered": [],
        "of either phase": every,
        "of a task": ["first"],
        "of a version": ["second"],
        "recent": every,
        "past": [],
        "labeled": ["first"],
        "with a label": ["first", "second"],
        "paused": ["second"],
    }
    assert "nobody is known here" in found["refused"]["creator"]
    assert "cannot be sorted by `colour`" in found["refused"]["order"]
    assert found["actions"] == ["c2", "c1", "a0"]
    assert found["children"] == ["c1", "c2"]
    assert found["conditions"] == ["go"]
    assert found["reports"] == ["<p>seen</p>", "<p>seen</p>"]
    assert found["code"] == {"main.py": "answer=1"}

    report = f"/api/runs/{first.name}/actions/a0/report"
    page = plain.get(f"{server}/v2/domain/{DOMAIN}/project/{PROJECT}/runs/{first.name}").text
    assert f"<a href='{report}'>Report</a>" in page
    shown = plain.get(f"{server}{report}")
    assert shown.text == "<p>seen</p>"
    assert shown.headers["content-security-policy"].startswith("sandbox allow-scripts "), "it is no page of ours"
    assert plain.get(f"{server}/api/runs/{first.name}/actions/never/report").status_code == 404


def test_scopes_of_a_listing_and_filters_that_make_no_sense(server: str) -> None:
    spec = samples.task_spec("env.other")
    spec.task_template.id.version = "v1"
    create(server, "one", spec)
    create(server, "two", samples.task_spec())
    client = RunServiceClientSync(server)
    scope = {"org": ORG, "project": PROJECT, "domain": DOMAIN, "name": "env.other"}
    for request, names in (
        (pb.ListRunsRequest(task_name=TaskName(**scope)), ["one"]),
        (pb.ListRunsRequest(task_id=TaskIdentifier(**scope, version="v1")), ["one"]),
        (pb.ListRunsRequest(task_id=TaskIdentifier(**scope, version="v2")), []),
        (pb.ListRunsRequest(org=ORG), ["two", "one"]),
    ):
        assert [run.action.id.run.name for run in client.list_runs(request).runs] == names
    for item, words in (
        (Filter(function=Filter.EQUAL, field="created_at", values=["2026-01-31T12:00:00Z"]), "not supported"),
        (Filter(function=Filter.LESS_THAN, field="created_at", values=["noon"]), "one time in ISO 8601"),
        (Filter(function=Filter.LESS_THAN, field="name", values=["a0"]), "not supported"),
    ):
        with pytest.raises(ConnectError, match=words):
            client.list_runs(pb.ListRunsRequest(request=ListRequest(filters=[item])))
