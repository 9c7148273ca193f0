"""How actions end on a real engine, driven by the real SDK in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec.structs import replace

from flytebuild import engine
from flytebuild.registry.reference import mirrored
from flytebuild.runtime import client, owner
from flytebuild.runtime.addresses import LABEL
from flytebuild.runtime.container import CA_PATH
from flytebuild.runtime.journal import FILE_NAME, Database
from flytebuild.runtime.process import End
from tests import plain
from tests.engine.building import FLYTE_BASE, have
from tests.runtime.driver import WORKFLOW, Driver, containers, free_port

pytestmark = pytest.mark.engine


def test_a_file_passes_between_two_children(driver: Driver) -> None:
    said, document = driver.run("pass_file", {"text": "hello"})
    assert said == {"phase": "succeeded", "outputs": ["hello"]}
    assert document["outputs"] == {"o0": "hello"}
    actions = document["actions"]
    assert [action["task"] for action in actions] == ["parents.pass_file", "flows.write", "flows.read"]
    assert [action["parent"] for action in actions] == [None, "a0", "a0"]
    assert len({action["container"] for action in actions}) == 3
    assert all(action["image_id"].startswith("sha256:") for action in actions)
    log = driver.flyte("get", "logs", document["run"])
    # A container's host name is the beginning of its identifier.
    assert f"parent runs in {actions[0]['container'][:12]}" in log
    assert "hello" in driver.flyte("get", "io", document["run"])
    listed = driver.flyte("get", "action", document["run"])
    assert all(action["name"] in listed for action in actions)
    assert "parents.pass_file" in driver.flyte("get", "run", document["run"])
    page = plain.get(document["url"])
    assert page.status_code == 200
    assert "parent runs in" in page.text

    # Once more, with what has succeeded already but for one; with another input; and one action alone.
    executed, recovered = ("SUCCEEDED", 1), ("RECOVERED", 0)
    written, forced = actions[1]["name"], actions[2]["name"]
    for options, expected, output in (
        (["--recover", "--force-rerun-action", forced], [executed, recovered, executed], "hello"),
        (["--text", "other"], [executed] * 3, "other"),
        (["--action-name", written], [executed], "s3://flytebuild/runs/"),
    ):
        told = driver.flyte("rerun", document["run"], *options)
        (name,) = set(re.findall(r"runs/(r\w+)", told))
        again = driver.until_ended(name)
        assert [(item["phase"], item["attempt"]) for item in again["actions"]] == expected
        assert again["outputs"]["o0"].startswith(output)
    assert again["actions"][0]["task"] == "flows.write"


def test_a_child_s_error_arrives_in_its_parent(driver: Driver) -> None:
    said, document = driver.run("catch", {"text": "no good"})
    assert said["outputs"] == ["ValueError: no good"]
    child = document["actions"][1]
    assert (child["phase"], child["exit_code"]) == ("FAILED", 0)
    assert child["error"]["code"] == "ValueError"
    assert "no good" in child["error"]["message"]


def test_a_failed_run_says_so(driver: Driver) -> None:
    said, document = driver.run("fail", {"text": "no good"})
    assert said == {"phase": "failed"}
    assert document["phase"] == "FAILED"
    assert "outputs" not in document


def test_retries_until_it_works(driver: Driver) -> None:
    said, document = driver.run("flaky")
    assert said["outputs"] == ["attempt 2"]
    assert document["actions"][0]["attempt"] == 3
    base = f"{driver.plane.endpoint}/api/runs/{document['run']}/actions/a0/logs"
    assert "attempt 0 fails" in plain.get(base, params={"attempt": "1"}).text
    assert "attempt 1 fails" in plain.get(base, params={"attempt": "2"}).text


def test_a_time_limit(driver: Driver) -> None:
    said, document = driver.run("outlive")
    assert said["outputs"] == ["MaxRuntimeExceededError"]
    assert document["actions"][1]["phase"] == "TIMED_OUT"


def test_a_container_that_just_ends(driver: Driver) -> None:
    said, document = driver.run("survive", {"code": 3})
    assert said["outputs"] == ["user NonZeroExit"]
    child = document["actions"][1]
    assert child["exit_code"] == 3
    assert "leaving" in child["error"]["message"], "the end of its log explains it"


def test_too_little_memory(driver: Driver) -> None:
    said, document = driver.run("starve")
    assert said["outputs"] == ["OOMError"]
    assert document["actions"][1]["error"]["code"] == "OOMKilled"


def test_variables_and_their_precedence(driver: Driver) -> None:
    names = ["FROM_TASK", "FROM_RUN", "SHARED", "RUN_NAME", "SSL_CERT_FILE", "CURL_CA_BUNDLE"]
    given = {"FROM_RUN": "run", "SHARED": "run", "RUN_NAME": "forged", "CURL_CA_BUNDLE": "/mine.pem"}
    said, document = driver.run("variables", {"names": names}, env_vars=given)
    bundle = CA_PATH if driver.config.ca_bundle else ""
    assert said["outputs"] == [["task", "run", "task", document["run"], bundle, "/mine.pem"]]


def test_conditions_are_answered_or_time_out(driver: Driver) -> None:
    said, document = driver.run("ask")
    answer, phase, refused, late = said["outputs"][0]
    assert (answer, phase) == ("True", "ACTION_PHASE_PAUSED")
    assert "condition `first` asks for a value of type boolean, not string" in refused
    assert "'second' was not signaled within" in late
    kinds = {item["task"]: (item["kind"], item["phase"]) for item in document["actions"]}
    assert kinds["first"] == ("condition", "SUCCEEDED")
    assert kinds["second"] == ("condition", "TIMED_OUT")


def test_many_children_at_once_and_again_from_the_cache(driver: Driver) -> None:
    _, first = driver.run("fan_out", {"count": 5})
    said, second = driver.run("fan_out", {"count": 5})
    assert said["outputs"] == [[0, 2, 4, 6, 8]]
    assert {action["cache"] for action in first["actions"][1:]} == {"populated"}
    children = second["actions"][1:]
    assert {(action["cache"], len(action["attempts"])) for action in children} == {("hit", 0)}
    assert {action["cached_from"].partition("/")[0] for action in children} == {first["run"]}


def test_abort_kills_the_containers(driver: Driver) -> None:
    process, name = driver.begin("wait_for_sleeper")
    child = driver.until_running(name, "flows.sleep_long")
    assert child["container"] in containers(driver.config.home)
    driver.flyte("abort", "run", name)
    assert driver.end(process) == {"phase": "aborted"}
    document = driver.document(name)
    assert [action["phase"] for action in document["actions"]] == ["ABORTED", "ABORTED"]


def test_an_action_that_is_aborted_alone_is_told_to_its_parent(driver: Driver) -> None:
    process, name = driver.begin("wait_for_sleeper")
    child = driver.until_running(name, "flows.sleep_long")
    driver.flyte("abort", "action", name, child["name"], "--reason", "enough")
    assert driver.end(process) == {"phase": "failed"}
    actions = driver.document(name)["actions"]
    assert [action["phase"] for action in actions] == ["FAILED", "ABORTED"]
    assert [action["error"]["code"] for action in actions] == ["ActionAbortedError", "Aborted"]
    assert actions[1]["error"]["message"] == "enough"


def test_a_container_killed_from_outside(driver: Driver) -> None:
    process, name = driver.begin("sleep_long")
    action = driver.until_running(name, "flows.sleep_long")
    connection = engine.connect()
    try:
        connection.api.kill(action["container"])
    finally:
        connection.close()
    assert driver.end(process) == {"phase": "failed"}
    assert driver.document(name)["actions"][0]["error"]["code"] == "Killed"


def test_a_container_reaches_no_other_run(driver: Driver) -> None:
    process, victim = driver.begin("sleep_long")
    driver.until_running(victim, "flows.sleep_long")
    with contextlib.closing(Database(driver.config.home / FILE_NAME)) as database:
        (base,) = [run.base for run, _, _ in database.runs() if run.name == victim]
    folder = base.removeprefix("s3://flytebuild/")
    said, _ = driver.run("snoop", {"victim": victim, "folder": folder})
    assert said == {"phase": "succeeded", "outputs": [[]]}
    assert driver.document(victim)["phase"] == "RUNNING"
    driver.flyte("abort", "run", victim)
    assert driver.end(process) == {"phase": "aborted"}


def test_a_task_starts_a_run_of_its_own(driver: Driver) -> None:
    said, document = driver.run("start_a_run", {"number": 21})
    assert said == {"phase": "succeeded", "outputs": [42]}
    assert document["actions"][0]["attempts"][0]["heard"]


def test_deployed_tasks(driver: Driver) -> None:
    done = subprocess.run(
        [sys.executable, "deployed.py", "v1"],
        cwd=WORKFLOW,
        env={**os.environ, **client.flyte_environment(driver.plane), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["versions"], said["phase"], said["outputs"]) == (["v1", "v1"], "succeeded", [7])
    assert said["missing"][0] == "RemoteTaskNotFoundError"
    assert "`nightly`" in said["triggers"][1]
    driver.flyte("deploy", "--version", "v2", str(WORKFLOW / "deployed.py"), "env")
    listed = driver.flyte("get", "task")
    assert listed.count("deployed.double") == 2
    assert "v2" in listed


def test_down_leaves_no_container(driver: Driver, tmp_path: Path) -> None:
    config = replace(driver.config, home=tmp_path / "own", port=free_port())
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(client.ensure, [config, config])
    assert first == second, "of two starts at once, one finds the other's"
    own = Driver(config, first)
    process, name = own.begin("sleep_long")
    own.until_running(name, "flows.sleep_long")
    process.kill()
    assert owner.under_way(config) == (name,)
    assert client.stop(config) is End.STOPPED
    assert owner.under_way(config) == ()
    assert client.find(config) is None
    assert containers(config.home) == []


def test_down_leaves_nothing_of_a_control_plane_that_was_killed(driver: Driver, tmp_path: Path) -> None:
    config = replace(driver.config, home=tmp_path / "own", port=free_port())
    own = Driver(config, client.ensure(config))
    process, name = own.begin("sleep_long")
    own.until_running(name, "flows.sleep_long")
    os.kill(own.plane.pid, signal.SIGKILL)
    os.waitpid(own.plane.pid, 0)
    assert containers(config.home) != []
    assert client.stop(config) is End.STOPPED
    assert containers(config.home) == []
    assert client.stop(config) is End.NOT_RUNNING
    process.kill()


def test_down_in_the_middle_of_many_starts_leaves_no_container(driver: Driver, tmp_path: Path) -> None:
    config = replace(driver.config, home=tmp_path / "own", port=free_port())
    own = Driver(config, client.ensure(config))
    process, name = own.begin("fan_out", {"count": 12})
    own.until_running(name, "flows.double")
    phases = [action["phase"] for action in own.document(name)["actions"]]
    client.stop(config)
    assert containers(config.home) == []
    assert {"QUEUED", "INITIALIZING"} & set(phases), "some had not started yet"
    process.kill()


def test_a_run_outlives_a_control_plane_that_is_killed(driver: Driver, tmp_path: Path) -> None:
    config = replace(driver.config, home=tmp_path / "own", port=free_port())
    own = Driver(config, client.ensure(config))
    process, name = own.begin("fan_out", {"count": 4})
    own.until_running(name, "flows.double")
    before = {action["name"]: action["container"] for action in own.document(name)["actions"]}
    os.kill(own.plane.pid, signal.SIGKILL)
    os.waitpid(own.plane.pid, 0)
    assert before["a0"] in containers(config.home)
    client.ensure(config)
    said = own.end(process)
    assert (said["phase"], said["outputs"]) == ("succeeded", [[0, 2, 4, 6]])
    document = own.document(name)
    root = document["actions"][0]
    assert (root["container"], root["attempt"]) == (before["a0"], 1), "the parent has not noticed"
    assert client.stop(config) is End.STOPPED
    assert containers(config.home) == []
    again = Driver(config, client.ensure(config))
    assert again.document(name)["phase"] == "SUCCEEDED"
    assert client.stop(config) is End.STOPPED


def test_containers_of_another_home_with_the_same_path_are_left_alone(driver: Driver, tmp_path: Path) -> None:
    """Two machines, or two containers, that share an engine may well have the same path for their homes."""
    config = replace(driver.config, home=tmp_path / "own", port=free_port())
    connection = engine.connect()
    # Never started, and so without a process: any image will do that nobody removes meanwhile.
    image = mirrored(FLYTE_BASE, config.mirrors)
    have(connection, image)
    theirs = connection.api.create_container(image, ["true"], labels={f"{LABEL}.home": str(config.home)})["Id"]
    try:
        client.ensure(config)
        client.stop(config)
        assert connection.api.inspect_container(theirs)["Id"] == theirs
    finally:
        connection.api.remove_container(theirs, force=True)
        connection.close()
