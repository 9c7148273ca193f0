"""The services by their own clients, over a real port, without an engine."""

from __future__ import annotations

import hashlib
import html
from pathlib import Path
from urllib.parse import quote

import pytest
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from flyteidl2.actions import actions_service_pb2 as actions_pb
from flyteidl2.actions.actions_service_connect import ActionsServiceClientSync
from flyteidl2.cluster.payload_pb2 import SelectClusterRequest
from flyteidl2.cluster.service_connect import ClusterServiceClientSync
from flyteidl2.common.identifier_pb2 import ActionIdentifier, ProjectIdentifier, RunIdentifier
from flyteidl2.common.list_pb2 import Filter, ListRequest
from flyteidl2.common.run_pb2 import OffloadedInputData
from flyteidl2.dataproxy import dataproxy_service_pb2 as data_pb
from flyteidl2.dataproxy.dataproxy_service_connect import DataProxyServiceClientSync
from flyteidl2.task.task_definition_pb2 import TaskSpec
from flyteidl2.trigger import trigger_service_pb2
from flyteidl2.trigger.trigger_service_connect import TriggerServiceClientSync
from flyteidl2.workflow import run_service_pb2 as run_pb
from flyteidl2.workflow.run_definition_pb2 import TaskAction
from flyteidl2.workflow.run_service_connect import RunServiceClientSync
from flyteidl2.workflow.state_service_connect import StateServiceClientSync
from flyteidl2.workflow.state_service_pb2 import WatchRequest

from flytebuild.runtime.container import Order
from flytebuild.runtime.dispatcher import is_local_host
from flytebuild.runtime.journal import FILE_NAME, Database
from flytebuild.runtime.model import Phase
from flytebuild.runtime.verdict import Exit
from tests import plain
from tests.runtime import samples
from tests.runtime.conftest import ScriptedExecutor, served
from tests.schemas import validated

PROJECT = ProjectIdentifier(organization="local", domain="development", name="flytebuild")


def create(server: str, spec: TaskSpec | None = None, name: str = "", base: str = "") -> RunIdentifier:
    request = run_pb.CreateRunRequest(
        task_spec=spec or samples.task_spec(), offloaded_input_data=OffloadedInputData(uri="s3://flytebuild/inputs/x")
    )
    request.run_spec.run_base_dir = base
    if name:
        request.run_id.CopyFrom(RunIdentifier(org="o", project="p", domain="d", name=name))
    else:
        request.project_id.CopyFrom(PROJECT)
    return RunServiceClientSync(server).create_run(request).run.action.id.run


def child(run: RunIdentifier, name: str = "c1") -> actions_pb.EnqueueRequest:
    return actions_pb.EnqueueRequest(
        action=actions_pb.Action(
            action_id=ActionIdentifier(run=run, name=name),
            parent_action_name="a0",
            input_uri="s3://flytebuild/inputs/x",
            run_output_base=f"s3://flytebuild/runs/{run.name}",
            task=TaskAction(spec=samples.task_spec("env.child")),
        )
    )


def ended(server: str, run: RunIdentifier, name: str = "a0") -> Phase:
    """Follow an action to its end, as the SDK's `wait` does."""
    request = run_pb.WatchActionDetailsRequest(action_id=ActionIdentifier(run=run, name=name))
    for answer in RunServiceClientSync(server).watch_action_details(request):
        phase = Phase(answer.details.status.phase)
        if phase.is_terminal:
            return phase
    raise AssertionError("the stream ended before the action")


def test_the_cluster_is_here(server: str) -> None:
    assert ClusterServiceClientSync(server).select_cluster(SelectClusterRequest()).cluster_endpoint == ""


def test_a_run_from_its_creation_to_its_end(server: str, executor: ScriptedExecutor) -> None:
    executor.script = lambda _order, _number: Exit(0)
    run = create(server)
    assert run.name
    assert run.org == "local"
    assert ended(server, run) is Phase.SUCCEEDED
    client = RunServiceClientSync(server)
    details = client.get_run_details(run_pb.GetRunDetailsRequest(run_id=run)).details.action
    assert (details.metadata.environment_name, details.metadata.task.id.name) == ("env", "env.work")
    assert details.attempts[0].logs_available
    assert client.list_runs(run_pb.ListRunsRequest(project_id=PROJECT)).runs[0].action.id.run.name == run.name
    assert validated(plain.get(f"{server}/api/runs").text)["runs"][0]["run"] == run.name
    answer = validated(plain.get(f"{server}/api/runs/{run.name}").text)
    assert (answer["schema"], answer["phase"], answer["actions"][0]["exit_code"]) == (
        "flytebuild.run/1",
        "SUCCEEDED",
        0,
    )


def test_a_name_of_the_users(server: str) -> None:
    assert create(server, name="mine").name == "mine"
    with pytest.raises(ConnectError) as taken:
        create(server, name="mine")
    assert taken.value.code is Code.ALREADY_EXISTS
    for name in ("../x", "a/b", "", ".hidden"):
        if name:
            with pytest.raises(ConnectError) as refused:
                create(server, name=name)
            assert refused.value.code is Code.INVALID_ARGUMENT


def test_a_run_never_sees_what_one_of_its_name_left_before_a_restart(
    tmp_path: Path, executor: ScriptedExecutor
) -> None:
    executor.script = lambda _order, _number: Exit(0)
    for prefix in ("", "s3://flytebuild/mine/"):
        for _ in range(2):
            with served(tmp_path, executor) as server:
                assert ended(server, create(server, name="mine", base=prefix)) is Phase.SUCCEEDED
            database = Database(tmp_path / FILE_NAME)
            database.forget(["mine"])
            database.close()
        first, second = (order.environment["_U_RUN_BASE"] for order in executor.orders[-2:])
        assert first != second
        assert first.startswith(f"{prefix or 's3://flytebuild/runs/'}mine-")


def test_children_by_either_protocol(server: str, executor: ScriptedExecutor) -> None:
    executor.script = None
    run = create(server)
    client = ActionsServiceClientSync(server)
    client.enqueue(child(run))
    client.enqueue(child(run))  # A repeated request is the same request.
    parent = ActionIdentifier(run=run, name="a0")
    for stream in (
        client.watch_for_updates(actions_pb.WatchForUpdatesRequest(parent_action_id=parent)),
        StateServiceClientSync(server).watch(WatchRequest(parent_action_id=parent)),
    ):
        first, second = next(iter(stream)), next(iter(stream))
        assert first.action_update.action_id.name == "c1"
        assert second.control_message.sentinel
    client.abort(actions_pb.AbortRequest(action_id=ActionIdentifier(run=run, name="c1"), reason="enough"))
    assert ended(server, run, "c1") is Phase.ABORTED
    RunServiceClientSync(server).abort_run(run_pb.AbortRunRequest(run_id=run))
    assert ended(server, run) is Phase.ABORTED
    with pytest.raises(ConnectError) as refused:
        client.enqueue(child(run, "c2"))
    assert refused.value.code is Code.ABORTED


def test_filters_are_honoured_or_refused(server: str) -> None:
    run = create(server)
    ActionsServiceClientSync(server).enqueue(child(run))
    client = RunServiceClientSync(server)

    def names(field: str, *values: str) -> list[str]:
        filters = [Filter(function=Filter.VALUE_IN, field=field, values=values)]
        request = run_pb.ListActionsRequest(run_id=run, request=ListRequest(limit=10, filters=filters))
        return [action.id.name for action in client.list_actions(request).actions]

    assert names("parent_name", "a0") == ["c1"]
    assert names("action_type", "3") == []
    with pytest.raises(ConnectError, match="no filter on `colour`"):
        names("colour", "red")


def test_listings_have_pages(server: str) -> None:
    for number in range(3):
        create(server, name=f"run{number}")
    client = RunServiceClientSync(server)
    first = client.list_runs(run_pb.ListRunsRequest(request=ListRequest(limit=2)))
    second = client.list_runs(run_pb.ListRunsRequest(request=ListRequest(limit=2, token=first.token)))
    assert [len(first.runs), len(second.runs), second.token] == [2, 1, ""]
    with pytest.raises(ConnectError, match="not a page token"):
        client.list_runs(run_pb.ListRunsRequest(request=ListRequest(limit=2, token="x")))


def test_an_upload_is_found_again_by_its_digest(server: str) -> None:
    content = b"bundle"
    request = data_pb.CreateUploadLocationRequest(
        project="p", domain="d", filename="code.tgz", content_md5=hashlib.md5(content).digest()
    )
    client = DataProxyServiceClientSync(server)
    first, second = client.create_upload_location(request), client.create_upload_location(request)
    assert first.native_url == second.native_url
    assert first.signed_url.startswith(server)
    assert plain.put(first.signed_url, content=b"something else").status_code == 400
    assert plain.put(first.signed_url, content=content).status_code == 200
    assert plain.get(first.signed_url).status_code == 403, "the link allows one method"
    assert plain.put(first.signed_url.replace("code", "kode"), content=content).status_code == 403
    spec = samples.task_spec()
    spec.task_template.container.args.extend(["--tgz", first.native_url])
    assert create(server, spec).name


def test_files_of_a_folder_are_uploaded_below_one_name(server: str) -> None:
    client = DataProxyServiceClientSync(server)
    uris = []
    for name, content in (("one, two.txt", b"1"), ("zwei ä.txt", b"2")):
        digest = hashlib.md5(content).digest()
        request = data_pb.CreateUploadLocationRequest(filename=name, filename_root="f00", content_md5=digest)
        answer = client.create_upload_location(request)
        assert plain.put(answer.signed_url, content=b"something else").status_code == 400
        assert plain.put(answer.signed_url, content=content).status_code == 200
        uris.append(answer.native_url)
    assert [uri.partition("/f00/")[2] for uri in uris] == ["one, two.txt", "zwei ä.txt"]
    assert len({uri.partition("/f00/")[0] for uri in uris}) == 1
    for root in ("../f00", "/f00", "a//b"):
        with pytest.raises(ConnectError, match="not a valid object name"):
            client.create_upload_location(
                data_pb.CreateUploadLocationRequest(filename="x", filename_root=root, content_md5=digest)
            )


def test_a_run_whose_code_is_gone_is_refused(server: str) -> None:
    spec = samples.task_spec()
    spec.task_template.container.args.extend(["--tgz", "s3://flytebuild/uploads/0/code.tgz"])
    with pytest.raises(ConnectError, match="flyte delete local-cache"):
        create(server, spec)


def test_what_is_not_there(server: str) -> None:
    client = RunServiceClientSync(server)
    nobody = RunIdentifier(name="nobody")
    with pytest.raises(ConnectError) as unknown:
        client.get_run_details(run_pb.GetRunDetailsRequest(run_id=nobody))
    assert unknown.value.code is Code.NOT_FOUND
    with pytest.raises(ConnectError) as missing:
        client.get_action_log_context(run_pb.GetActionLogContextRequest())
    assert missing.value.code is Code.UNIMPLEMENTED
    for path in ("nothing", "api/runs/nobody", "v2/domain/d/project/p/runs/nobody", "api/runs/x/actions/a0/logs"):
        assert plain.get(f"{server}/{path}").status_code == 404


def test_a_service_that_is_not_here_is_named(server: str) -> None:
    with pytest.raises(ConnectError, match="the local control plane has no TriggerService") as error:
        TriggerServiceClientSync(server).list_triggers(trigger_service_pb2.ListTriggersRequest())
    assert error.value.code is Code.UNIMPLEMENTED


def test_a_run_that_is_unknown_is_told_in_a_sentence(server: str) -> None:
    page = plain.get(f"{server}/v2/domain/d/project/p/runs/{quote('<b>x')}")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<p>There is no run `&lt;b&gt;x`" in page.text
    assert "flytebuild runs prune" in page.text
    assert plain.get(f"{server}/api/runs/nobody").text == "there is no run `nobody`\n"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\0" * ((1 << 20) + 1), "too large (1048577 bytes in `s3://"),
        (b"\xff\xff\xff", "holds something that cannot be shown"),
    ],
    ids=["too large", "unreadable"],
)
def test_outputs_that_cannot_be_shown(
    server: str, executor: ScriptedExecutor, tmp_path: Path, content: bytes, problem: str
) -> None:
    """The task writes them itself, through the object store."""

    def end(order: Order, _number: int) -> Exit:
        target = tmp_path / "objects" / order.arguments[order.arguments.index("--outputs-path") + 1][5:]
        target.mkdir(parents=True)
        (target / "outputs.pb").write_bytes(content)
        return Exit(0)

    executor.script = end
    spec = samples.task_spec()
    spec.task_template.interface.outputs.variables.add(key="o0")
    run = create(server, spec)
    assert ended(server, run) is Phase.SUCCEEDED
    document = validated(plain.get(f"{server}/api/runs/{run.name}").text)
    assert problem in document["outputs_problem"]
    assert "outputs" not in document
    page = plain.get(document["url"].replace("http://127.0.0.1:8199", server))
    assert page.status_code == 200
    assert "Outputs are not shown: " in page.text
    assert problem in html.unescape(page.text)


def test_a_run_without_outputs(server: str, executor: ScriptedExecutor) -> None:
    executor.script = lambda _order, _number: Exit(0)
    run = create(server)
    assert ended(server, run) is Phase.SUCCEEDED
    document = plain.get(f"{server}/api/runs/{run.name}").json()
    assert document["outputs"] == {}
    assert "outputs_problem" not in document


def test_a_foreign_host_name_is_refused(server: str) -> None:
    assert plain.get(f"{server}/healthz", headers={"host": "evil.example:80"}).status_code == 421
    assert plain.get(f"{server}/healthz").json()["schema"] == "flytebuild.health/1"


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        *(("127.0.0.1", True), ("172.17.0.1", True), ("[::1]", True), ("localhost", True)),
        *(("host.docker.internal", True), ("127.0.0.1.evil.example", False), ("", False)),
    ],
)
def test_local_hosts(host: str, is_local: bool) -> None:
    assert is_local_host(host) is is_local
