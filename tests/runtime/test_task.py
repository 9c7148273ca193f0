"""Deployed tasks by the services' own clients, over a real port, without an engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from flyteidl2.common.identifier_pb2 import ProjectIdentifier, TriggerName
from flyteidl2.common.list_pb2 import Filter, ListRequest, Sort
from flyteidl2.common.run_pb2 import OffloadedInputData
from flyteidl2.task import task_service_pb2 as pb
from flyteidl2.task.task_definition_pb2 import TaskIdentifier, TaskName, TaskTrigger
from flyteidl2.task.task_service_connect import TaskServiceClientSync
from flyteidl2.workflow import run_service_pb2 as run_pb
from flyteidl2.workflow.run_service_connect import RunServiceClientSync

from flytebuild.runtime.model import Phase
from flytebuild.runtime.verdict import Exit
from tests.runtime import samples
from tests.runtime.conftest import ScriptedExecutor, served
from tests.runtime.test_app import PROJECT, ended


def identifier(version: str, name: str = "env.work", project: str = "flytebuild") -> TaskIdentifier:
    return TaskIdentifier(org="local", project=project, domain="development", name=name, version=version)


def deploy(server: str, task_id: TaskIdentifier, *, is_entrypoint: bool = False) -> None:
    spec = samples.task_spec(task_id.name)
    spec.task_template.container.image = f"image:{task_id.version}"
    spec.task_template.metadata.is_entrypoint = is_entrypoint
    TaskServiceClientSync(server).deploy_task(pb.DeployTaskRequest(task_id=task_id, spec=spec))


def listed(server: str, request: ListRequest, **more: object) -> list[str]:
    answer = TaskServiceClientSync(server).list_tasks(
        pb.ListTasksRequest(request=request, project_id=PROJECT, **more)  # type: ignore[arg-type]
    )
    return [f"{task.task_id.name}:{task.task_id.version}" for task in answer.tasks]


def test_a_deployed_version_is_found_and_never_changes(server: str) -> None:
    deploy(server, identifier("v1"))
    client = TaskServiceClientSync(server)
    details = client.get_task_details(pb.GetTaskDetailsRequest(task_id=identifier("v1"))).details
    assert details.task_id == identifier("v1")
    assert details.spec.task_template.container.image == "image:v1"
    assert (details.metadata.short_name, details.metadata.environment_name) == ("work", "env")
    with pytest.raises(ConnectError) as again:
        deploy(server, identifier("v1"))
    assert again.value.code is Code.ALREADY_EXISTS
    for other in (identifier("v2"), identifier("v1", "env.other"), identifier("v1", project="other")):
        with pytest.raises(ConnectError) as unknown:
            client.get_task_details(pb.GetTaskDetailsRequest(task_id=other))
        assert unknown.value.code is Code.NOT_FOUND


def test_listings(server: str) -> None:
    deploy(server, identifier("v2"), is_entrypoint=True)
    deploy(server, identifier("v1"))
    deploy(server, identifier("v1", "env.other"))
    deploy(server, identifier("v1", "elsewhere.work", project="other"))
    by_name = Filter(function=Filter.EQUAL, field="name", values=["env.work"])
    newest = Sort(key="created_at", direction=Sort.DESCENDING)
    assert listed(server, ListRequest(limit=1, sort_by=newest, filters=[by_name])) == ["env.work:v1"]
    in_environment = Filter(function=Filter.CONTAINS, field="name", values=["env."])
    assert listed(server, ListRequest(limit=9, filters=[in_environment])) == [
        *("env.work:v2", "env.work:v1", "env.other:v1")
    ]
    entrypoints = [pb.ListTasksRequest.KnownFilter(is_entrypoint=True)]
    assert listed(server, ListRequest(), known_filters=entrypoints) == ["env.work:v2"]
    client = TaskServiceClientSync(server)
    name = TaskName(org="local", project="flytebuild", domain="development", name="env.work")
    first = client.list_versions(pb.ListVersionsRequest(task_name=name, request=ListRequest(limit=1)))
    second = client.list_versions(pb.ListVersionsRequest(task_name=name, request=ListRequest(token=first.token)))
    assert [item.version for item in (*first.versions, *second.versions)] == ["v2", "v1"]
    for request in (
        ListRequest(filters=[Filter(function=Filter.EQUAL, field="colour", values=["red"])]),
        ListRequest(filters=[Filter(function=Filter.GREATER_THAN, field="name", values=["a"])]),
        ListRequest(sort_by=Sort(key="colour")),
    ):
        with pytest.raises(ConnectError) as refused:
            listed(server, request)
        assert refused.value.code is Code.INVALID_ARGUMENT


def test_a_run_of_a_deployed_task_also_after_a_restart(tmp_path: Path, executor: ScriptedExecutor) -> None:
    executor.script = lambda _order, _number: Exit(0)
    with served(tmp_path, executor) as server:
        deploy(server, identifier("v/1: odd"))
        deploy(server, identifier("v2"))
    (tmp_path / "tasks" / f"{'0' * 64}.pb").write_bytes(b"\xff broken")
    with served(tmp_path, executor) as server:
        request = run_pb.CreateRunRequest(
            project_id=ProjectIdentifier(organization="local", domain="development", name="flytebuild"),
            task_id=identifier("v/1: odd"),
            offloaded_input_data=OffloadedInputData(uri="s3://flytebuild/inputs/x"),
        )
        run = RunServiceClientSync(server).create_run(request).run.action.id.run
        assert ended(server, run) is Phase.SUCCEEDED
        assert listed(server, ListRequest()) == ["env.work:v/1: odd", "env.work:v2"]
        request.task_id.version = "v3"
        with pytest.raises(ConnectError, match="version `v3` of task") as unknown:
            RunServiceClientSync(server).create_run(request)
        assert unknown.value.code is Code.NOT_FOUND
    assert [order.image for order in executor.orders] == ["image:v/1: odd"]


def test_what_is_not_done_here_is_refused(server: str) -> None:
    client = TaskServiceClientSync(server)
    request = pb.DeployTaskRequest(task_id=identifier("v1"), spec=samples.task_spec())
    request.triggers.append(TaskTrigger(name="nightly"))
    with pytest.raises(ConnectError, match="`nightly`") as refused:
        client.deploy_task(request)
    assert refused.value.code is Code.UNIMPLEMENTED
    with pytest.raises(ConnectError, match="a name and a version"):
        client.deploy_task(pb.DeployTaskRequest(task_id=identifier(""), spec=samples.task_spec()))
    lost = samples.task_spec()
    lost.task_template.container.args.extend(["--tgz", "s3://flytebuild/uploads/0/code.tgz"])
    with pytest.raises(ConnectError, match="local-cache"):
        client.deploy_task(pb.DeployTaskRequest(task_id=identifier("v1"), spec=lost))
    fired = run_pb.CreateRunRequest(project_id=PROJECT, trigger_name=TriggerName(name="nightly", task_name="env.work"))
    with pytest.raises(ConnectError, match="has no triggers") as unknown:
        RunServiceClientSync(server).create_run(fired)
    assert unknown.value.code is Code.UNIMPLEMENTED
    assert listed(server, ListRequest()) == []
