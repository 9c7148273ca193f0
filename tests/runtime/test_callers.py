"""Who may ask what: the owner, containers by the credentials that they were given, and everybody else."""

from __future__ import annotations

import contextlib
import gzip
import os
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import obstore
import pytest
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from flyteidl2.actions import actions_service_pb2 as actions_pb
from flyteidl2.actions.actions_service_connect import ActionsServiceClientSync
from flyteidl2.common.identifier_pb2 import ActionAttemptIdentifier, ActionIdentifier, RunIdentifier
from flyteidl2.common.run_pb2 import OffloadedInputData
from flyteidl2.core.literals_pb2 import Literal
from flyteidl2.dataproxy import dataproxy_service_pb2 as data_pb
from flyteidl2.dataproxy.dataproxy_service_connect import DataProxyServiceClientSync
from flyteidl2.task import task_service_pb2 as task_pb
from flyteidl2.task.common_pb2 import Inputs, NamedLiteral
from flyteidl2.task.task_service_connect import TaskServiceClientSync
from flyteidl2.workflow import queue_service_pb2 as queue_pb
from flyteidl2.workflow import run_service_pb2 as run_pb
from flyteidl2.workflow.queue_service_connect import QueueServiceClientSync
from flyteidl2.workflow.run_service_connect import RunServiceClientSync
from flyteidl2.workflow.state_service_connect import StateServiceClientSync
from flyteidl2.workflow.state_service_pb2 import WatchRequest
from obstore.exceptions import BaseError
from obstore.store import S3Store

from flytebuild.runtime.addresses import HOST_NAME
from flytebuild.runtime.container import Order
from flytebuild.runtime.listening import private_socket
from flytebuild.runtime.passes import Bearer
from flytebuild.runtime.peers import is_owner, user_of
from flytebuild.runtime.services.guard import RULES
from tests import plain
from tests.runtime import samples
from tests.runtime.conftest import CREDENTIALS, SITE, ScriptedExecutor, served
from tests.runtime.signer import Signer
from tests.runtime.test_app import PROJECT, child, ended


@dataclass
class Container:
    """What a container knows: its run, and the variables that it was given."""

    run: RunIdentifier
    order: Order
    server: str

    @property
    def endpoint(self) -> str:
        """Where it finds the services, as seen from here."""
        return self.server + "/run/" + self.order.environment["_U_EP_OVERRIDE"].partition("/run/")[2]

    @property
    def base(self) -> str:
        return self.order.environment["_U_RUN_BASE"]

    @property
    def key_pair(self) -> tuple[str, str]:
        environment = self.order.environment
        return environment["FLYTE_AWS_ACCESS_KEY_ID"], environment["FLYTE_AWS_SECRET_ACCESS_KEY"]

    def store(self, bucket: str = "flytebuild", **changes: str) -> S3Store:
        identifier, secret = self.key_pair
        options = {
            "access_key_id": identifier,
            "secret_access_key": secret,
            "region": self.order.environment["AWS_REGION"],
            "endpoint": f"{self.server}/s3",
            **changes,
        }
        return S3Store(bucket, config=options, client_options={"allow_http": True})

    def key(self, name: str) -> str:
        """A name in the bucket, of something of this run's own."""
        return f"{self.base.removeprefix('s3://flytebuild/')}/{name}"


Begin = Callable[..., Container]


@pytest.fixture
def begin(server: str, executor: ScriptedExecutor) -> Begin:
    """Starts a run, as the owner, or as a container of a run; what its first container knows."""

    def begin(inputs: str = "", by: Container | None = None) -> Container:
        endpoint = by.endpoint if by else server
        uploaded = DataProxyServiceClientSync(endpoint).upload_inputs(
            data_pb.UploadInputsRequest(
                project_id=PROJECT,
                inputs=Inputs(literals=[NamedLiteral(name="x", value=_blob(inputs))]) if inputs else Inputs(),
            )
        )
        count = len(executor.orders)
        created = RunServiceClientSync(endpoint).create_run(
            run_pb.CreateRunRequest(
                project_id=PROJECT,
                task_spec=samples.task_spec(),
                offloaded_input_data=OffloadedInputData(uri=uploaded.offloaded_input_data.uri),
            )
        )
        run = created.run.action.id.run
        details = run_pb.WatchActionDetailsRequest(action_id=ActionIdentifier(run=run, name="a0"))
        for answer in RunServiceClientSync(server).watch_action_details(details):
            if answer.details.attempts and len(executor.orders) > count:
                break
        return Container(run, executor.orders[-1], server)

    return begin


def _blob(uri: str) -> Literal:
    literal = Literal()
    literal.scalar.blob.uri = uri
    return literal


def denied(ask: Callable[[], Any]) -> bool:
    """Whether the services refuse it for who asks."""
    with pytest.raises(ConnectError) as refused:
        ask()
    assert refused.value.code is Code.PERMISSION_DENIED, refused.value
    return True


def requests_about(run: RunIdentifier, base: str) -> dict[type, tuple[type, str, Any]]:
    """One request of each kind that containers may send, about a run; by its class, with its client and method."""
    action = ActionIdentifier(run=run, name="a0")
    enqueued = child(run).action
    attempt = ActionAttemptIdentifier(action_id=action, attempt=1)
    queued = queue_pb.EnqueueActionRequest(action_id=enqueued.action_id, parent_action_name="a0", task=enqueued.task)
    created = run_pb.CreateRunRequest(project_id=PROJECT, task_spec=samples.task_spec())
    created.run_spec.relation.related_to.CopyFrom(run)
    runs, actions, data = RunServiceClientSync, ActionsServiceClientSync, DataProxyServiceClientSync
    items = [
        (actions, "enqueue", actions_pb.EnqueueRequest(action=enqueued)),
        (actions, "watch_for_updates", actions_pb.WatchForUpdatesRequest(parent_action_id=action)),
        (actions, "abort", actions_pb.AbortRequest(action_id=action)),
        (QueueServiceClientSync, "enqueue_action", queued),
        (QueueServiceClientSync, "abort_queued_action", queue_pb.AbortQueuedActionRequest(action_id=action)),
        (StateServiceClientSync, "watch", WatchRequest(parent_action_id=action)),
        (runs, "create_run", created),
        (runs, "get_run_details", run_pb.GetRunDetailsRequest(run_id=run)),
        (runs, "watch_run_details", run_pb.WatchRunDetailsRequest(run_id=run)),
        (runs, "get_action_details", run_pb.GetActionDetailsRequest(action_id=action)),
        (runs, "watch_action_details", run_pb.WatchActionDetailsRequest(action_id=action)),
        (runs, "list_actions", run_pb.ListActionsRequest(run_id=run)),
        (runs, "watch_actions", run_pb.WatchActionsRequest(run_id=run)),
        (runs, "get_action_data_u_r_is", run_pb.GetActionDataURIsRequest(action_id=action)),
        (runs, "abort_run", run_pb.AbortRunRequest(run_id=run)),
        (runs, "abort_action", run_pb.AbortActionRequest(action_id=action)),
        (runs, "signal_event", run_pb.SignalEventRequest(action_id=action)),
        (data, "upload_inputs", data_pb.UploadInputsRequest(project_id=PROJECT, base_dir=base)),
        (data, "get_action_data", data_pb.GetActionDataRequest(action_id=action)),
        (data, "create_download_link", data_pb.CreateDownloadLinkRequest(action_attempt_id=attempt)),
        (data, "tail_logs", data_pb.TailLogsRequest(action_id=action, attempt=1)),
    ]
    return {type(request): (client, method, request) for client, method, request in items}


def sent(endpoint: str, item: tuple[type, str, Any]) -> Any:
    client, method, request = item
    answer = getattr(client(endpoint), method)(request)
    return next(iter(answer)) if hasattr(answer, "__iter__") and not hasattr(answer, "DESCRIPTOR") else answer


ABOUT_NO_RUN = {"SelectClusterRequest", "CreateUploadLocationRequest", "GetTaskDetailsRequest"} | {
    "ListTasksRequest",
    "ListVersionsRequest",
}


def test_a_container_has_no_part_in_another_run(begin: Begin, executor: ScriptedExecutor) -> None:
    victim, other = begin(), begin()
    requests = requests_about(victim.run, victim.base)
    # Whoever allows one more to containers adds it here.
    assert {kind.__name__ for kind in RULES} - ABOUT_NO_RUN == {kind.__name__ for kind in requests}
    for item in requests.values():
        assert denied(lambda item=item: sent(other.endpoint, item)), item
    assert len(executor.orders) == 2
    assert (
        RunServiceClientSync(victim.server)
        .get_run_details(run_pb.GetRunDetailsRequest(run_id=victim.run))
        .details.action.status.phase
    )
    assert not executor.removed


def test_a_container_enqueues_watches_and_aborts_in_its_own_run(begin: Begin, executor: ScriptedExecutor) -> None:
    own = begin()
    client = ActionsServiceClientSync(own.endpoint)
    request = child(own.run)
    request.action.run_output_base = own.base
    client.enqueue(request)
    stream = client.watch_for_updates(
        actions_pb.WatchForUpdatesRequest(parent_action_id=ActionIdentifier(run=own.run, name="a0"))
    )
    assert next(iter(stream)).action_update.action_id.name == "c1"
    client.abort(actions_pb.AbortRequest(action_id=ActionIdentifier(run=own.run, name="c1")))
    assert TaskServiceClientSync(own.endpoint).list_tasks(task_pb.ListTasksRequest(project_id=PROJECT)) is not None


def test_addresses_that_a_container_names_are_its_own(begin: Begin) -> None:
    victim, other = begin(), begin()
    for field, uri in (
        ("input_uri", f"{victim.base}/a0/inputs.pb"),
        ("input_uri", f"{other.base}/../{victim.base.rpartition('/')[2]}/a0/inputs.pb"),
        ("run_output_base", victim.base),
        ("run_output_base", "s3://flytebuild/uploads/x"),
        ("run_output_base", "/etc"),
    ):
        request = child(other.run)
        setattr(request.action, field, uri)
        assert denied(lambda request=request: ActionsServiceClientSync(other.endpoint).enqueue(request))
    # What a task's code is said to be is handed out by links.
    for flag in ("--tgz", "--pkl"):
        request = child(other.run)
        request.action.run_output_base = other.base
        request.action.task.spec.task_template.container.args.extend([flag, f"{victim.base}/a0/1/outputs.pb"])
        assert denied(lambda request=request: ActionsServiceClientSync(other.endpoint).enqueue(request))
        created = run_pb.CreateRunRequest(project_id=PROJECT, task_spec=request.action.task.spec)
        assert denied(lambda created=created: RunServiceClientSync(other.endpoint).create_run(created))
    folder = data_pb.CreateUploadLocationRequest(filename="x", filename_root="root", content_md5=bytes(16))
    assert denied(lambda: DataProxyServiceClientSync(other.endpoint).create_upload_location(folder))


def test_what_is_for_the_owner_is_for_no_container(begin: Begin) -> None:
    own = begin()
    for path in ("/", "/healthz", "/api/runs", f"/api/runs/{own.run.name}/events", "/v2/runs", "/secrets"):
        assert plain.get(own.endpoint + path).status_code == 403
        # As it calls the host, without a credential.
        assert plain.get(own.server + path, headers={"host": f"{HOST_NAME}:8199"}).status_code == 403
    runs, tasks = RunServiceClientSync(own.endpoint), TaskServiceClientSync(own.endpoint)
    assert denied(lambda: runs.list_runs(run_pb.ListRunsRequest(project_id=PROJECT)))
    assert denied(lambda: tasks.deploy_task(task_pb.DeployTaskRequest(spec=samples.task_spec())))


def test_a_credential_ends_with_its_attempt(begin: Begin, executor: ScriptedExecutor) -> None:
    own, other = begin(), begin()
    request = run_pb.GetRunDetailsRequest(run_id=own.run)
    assert RunServiceClientSync(own.endpoint).get_run_details(request)
    head, _, token = own.endpoint.rpartition("/")
    wrong = [
        f"{head}/{'0' * len(token)}",
        f"{head}/",
        own.endpoint.replace("/a0/1/", "/a0/2/"),
        own.endpoint.replace(f"/{own.run.name}/", f"/{other.run.name}/"),
        own.endpoint.replace("/a0/", "/../a0/"),
    ]
    for endpoint in wrong:
        assert denied(lambda endpoint=endpoint: RunServiceClientSync(endpoint).get_run_details(request)), endpoint
    store = own.store()
    obstore.put(store, own.key("x"), b"x")
    RunServiceClientSync(own.server).abort_run(run_pb.AbortRunRequest(run_id=own.run))
    ended(own.server, own.run)
    assert denied(lambda: RunServiceClientSync(own.endpoint).get_run_details(request))
    with pytest.raises(BaseError, match="403 Forbidden"):
        obstore.put(store, own.key("x"), b"x")


def test_objects_of_another_run(begin: Begin) -> None:
    victim, other = begin(), begin()
    obstore.put(victim.store(), victim.key("a0/1/data/x"), b"theirs")
    store, theirs, mine = other.store(), victim.key("a0/1/data/x"), other.key("a0/1/data/x")
    obstore.put(store, mine, b"mine")
    assert bytes(obstore.get(store, mine).bytes()) == b"mine"
    assert [item["path"] for batch in obstore.list(store, other.key("a0")) for item in batch] == [mine]
    for attempt in (
        lambda: obstore.get(store, theirs),
        lambda: obstore.head(store, theirs),
        lambda: obstore.put(store, theirs, b"forged"),
        lambda: obstore.put(store, theirs, b"x" * (6 << 20), use_multipart=True),
        lambda: obstore.copy(store, theirs, mine),
        lambda: obstore.copy(store, mine, theirs),
        lambda: list(obstore.list(store, victim.key("a0"))),
        lambda: list(obstore.list(store)),
        lambda: list(obstore.list(store, "uploads")),
        lambda: list(obstore.list(store, "runs")),
        lambda: obstore.put(store, "runs", b"x"),
        lambda: obstore.put(store, "uploads/x", b"x"),
        lambda: obstore.get(other.store(secret_access_key="guess"), mine),
        lambda: obstore.get(other.store(access_key_id=CREDENTIALS.key_id), mine),
    ):
        with pytest.raises(BaseError, match="403 Forbidden"):
            attempt()
    for method, path, content in (
        ("DELETE", theirs, b""),
        ("POST", "?delete=", f"<Delete><Object><Key>{theirs}</Key></Object></Delete>".encode()),
    ):
        answer = plain.request(
            method, f"{other.server}/s3/flytebuild/{path}", content=content, auth=Signer(*other.key_pair)
        )
        assert "AccessDenied" in answer.text
    assert bytes(obstore.get(victim.store(), theirs).bytes()) == b"theirs"


def test_what_the_owner_gives_as_inputs_is_readable(begin: Begin) -> None:
    source = begin()
    for name in ("dir/a", "dir/b", "other"):
        obstore.put(source.store(), source.key(name), name.encode())
    given = begin(f"{source.base}/dir")
    store = given.store()
    assert bytes(obstore.get(store, source.key("dir/a")).bytes()) == b"dir/a"
    assert len([item for batch in obstore.list(store, source.key("dir")) for item in batch]) == 2
    for attempt in (
        lambda: obstore.get(store, source.key("other")),
        lambda: obstore.put(store, source.key("dir/a"), b"changed"),
    ):
        with pytest.raises(BaseError, match="403 Forbidden"):
            attempt()


def test_buckets_of_the_users_own_are_common_ground(begin: Begin) -> None:
    obstore.put(begin().store("shared"), "x/y", b"shared")
    store = begin().store("shared")
    assert bytes(obstore.get(store, "x/y").bytes()) == b"shared"
    assert [item["path"] for batch in obstore.list(store, "x") for item in batch] == ["x/y"]


def test_a_run_that_a_task_starts_belongs_to_the_task_s_run(begin: Begin) -> None:
    victim, parent = begin(), begin()
    obstore.put(victim.store(), victim.key("x"), b"theirs")
    started = begin(f"{victim.base}/x", by=parent)
    details = run_pb.GetRunDetailsRequest(run_id=started.run)
    assert RunServiceClientSync(parent.endpoint).get_run_details(details)
    assert denied(lambda: RunServiceClientSync(victim.endpoint).get_run_details(details))
    obstore.put(started.store(), started.key("y"), b"result")
    assert bytes(obstore.get(parent.store(), started.key("y")).bytes()) == b"result"
    # What a task names for the run that it starts gives neither of them anything.
    with pytest.raises(BaseError, match="403 Forbidden"):
        obstore.get(started.store(), victim.key("x"))
    RunServiceClientSync(parent.endpoint).abort_run(run_pb.AbortRunRequest(run_id=started.run))


def test_the_first_request_is_noted(begin: Begin, server: str) -> None:
    own = begin()

    def heard() -> bool:
        return plain.get(f"{server}/api/runs/{own.run.name}").json()["actions"][0]["attempts"][0]["heard"] is not None

    assert not heard()
    obstore.put(own.store(), own.key("x"), b"x")
    assert heard()


ASK = r"""
exec 3<>/dev/tcp/127.0.0.1/$0
printf 'GET /api/runs HTTP/1.1\r\nhost: 127.0.0.1:1\r\nconnection: close\r\n\r\n' >&3
read -r _ status _ <&3
echo "$status"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user: `sudo make test`")
def test_another_user_of_the_machine_is_refused(server: str) -> None:
    port = server.rpartition(":")[2]
    command = ["bash", "-c", ASK, port]
    answers = [
        subprocess.run(command, user=user, capture_output=True, text=True, check=True, cwd="/").stdout.strip()
        for user in (0, 65534)
    ]
    assert answers == ["200", "403"]


def test_whose_connection_it_is() -> None:
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as listener:
            listener.bind((address, 0))
            listener.listen()
            here = listener.getsockname()[:2]
            client = socket.create_connection(here)
            accepted, peer = listener.accept()
            with accepted:
                assert user_of(peer[:2], here) == os.geteuid()
                assert is_owner(peer[:2], here)
                # A connection that its process has left is nobody's, though the kernel calls it root's.
                client.close()
                assert user_of(peer[:2], here) is None
                assert not is_owner(peer[:2], here)
    assert user_of(("192.0.2.1", 1), ("192.0.2.2", 2)) is None


def test_messages_are_bounded(begin: Begin) -> None:
    own = begin()
    url = f"{own.endpoint}/flyteidl2.dataproxy.DataProxyService/UploadInputs"
    bomb = gzip.compress(bytes(200 << 20), 1)

    headers = {"content-type": "application/proto"}
    answer = plain.post(url, content=bomb, headers={**headers, "content-encoding": "gzip"})
    assert (answer.status_code, answer.json()["code"]) == (429, "resource_exhausted")
    announced = b"POST %s HTTP/1.1\r\nhost: 127.0.0.1:1\r\ncontent-length: 1099511627776\r\n\r\n"
    place = httpx.URL(url)
    with socket.create_connection((place.host, place.port)) as connection:
        connection.sendall(announced % place.raw_path)
        assert b" 413 " in connection.makefile("rb").readline()
    # One that does not say its length is not kept; its sender may learn that before it is through.
    with contextlib.suppress(httpx.TransportError):
        answer = plain.post(url, content=(bytes(1 << 20) for _ in range(200)), headers=headers)
        assert answer.status_code >= 400


def test_nothing_of_a_credential_is_kept_or_shown(begin: Begin, server: str) -> None:
    own = begin()
    token = own.endpoint.rpartition("/")[2]
    secret = own.order.environment["FLYTE_AWS_SECRET_ACCESS_KEY"]
    shown = plain.get(f"{server}/api/runs/{own.run.name}").text + plain.get(f"{server}/").text
    assert token not in shown
    assert secret not in shown
    assert token not in repr(own.order)


def test_the_owner_takes_a_credential_for_an_attempt_that_has_ended(begin: Begin) -> None:
    own = begin()
    RunServiceClientSync(own.server).abort_run(run_pb.AbortRunRequest(run_id=own.run))
    ended(own.server, own.run)
    folder = own.base.rpartition("/")[2]
    request = run_pb.GetRunDetailsRequest(run_id=own.run)
    for seconds, counts in ((60, True), (-60, False)):
        passes = SITE.passes.lasting(int(time.time()) + seconds)
        endpoint = own.server + passes.issue(Bearer(own.run.name, folder, "a0", 1)).path
        if counts:
            assert RunServiceClientSync(endpoint).get_run_details(request)
            later = endpoint.replace("/a0/1-", "/a0/1-9")
            assert denied(lambda later=later: RunServiceClientSync(later).get_run_details(request))
        else:
            assert denied(lambda endpoint=endpoint: RunServiceClientSync(endpoint).get_run_details(request))


@pytest.mark.parametrize("host", [HOST_NAME, "127.0.0.1"])
def test_nobody_is_the_owner_who_comes_through_the_relay(tmp_path: Path, executor: ScriptedExecutor, host: str) -> None:
    with private_socket() as (door, path), served(tmp_path, executor, door) as server:
        assert plain.get(f"{server}/api/runs").status_code == 200
        assert path.parent.stat().st_mode & 0o077 == 0
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
            assert client.get(f"http://{host}:8199/healthz").status_code == 403
            assert client.get(f"http://{host}:8199/api/runs").status_code == 403
