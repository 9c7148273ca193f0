"""Warm containers on a real engine: shared as far as they may be, and as good as others."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from flytebuild import engine
from flytebuild.config import Config
from flytebuild.runtime import client
from flytebuild.runtime.addresses import LABEL
from flytebuild.runtime.home import make
from flytebuild.runtime.process import End
from tests import plain
from tests.conftest import Machine
from tests.runtime.driver import Driver, containers, free_port

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def driver(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """A control plane all of whose tasks share warm containers."""
    home = tmp_path_factory.mktemp("home")
    bundle = os.environ.get("SSL_CERT_FILE")
    config = Config(port=free_port(), home=home, mirrors=machine.mirrors, ca_bundle=Path(bundle) if bundle else None)
    config = replace(config, warm=True)
    yield Driver(config, client.ensure(config))
    assert client.stop(config) is End.STOPPED
    assert containers(home) == []


@pytest.fixture
def engine_api() -> Iterator[Any]:
    connection = engine.connect()
    yield connection.api
    connection.close()


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def log(driver: Driver, document: dict[str, Any], action: str) -> str:
    return plain.get(f"{driver.plane.endpoint}/api/runs/{document['run']}/actions/{action}/logs").text


def test_actions_share_a_container_and_nothing_else(driver: Driver) -> None:
    said, document = driver.run("warm.look_around", {"count": 5})
    (found,) = said["outputs"]
    actions = document["actions"]
    assert {host for host, *_ in found} == {actions[1]["container"][:12]}
    # The parent's environment has the same image and no limits either.
    assert len({action["container"] for action in actions}) == 1
    assert sorted(name for _, name, *_ in found) == sorted(action["name"] for action in actions[1:])
    assert {tuple(rest) for _, _, *rest in found} == {("False", "False")}
    for number, (_, name, *_) in enumerate(found):
        lines = log(driver, document, name).splitlines()
        assert [line for line in lines if line.startswith("number")] == [f"number {number}"]


def test_runs_share_no_container_and_the_next_one_finds_a_warm_one_all_the_same(driver: Driver) -> None:
    _, first = driver.run("warm.look_around", {"count": 1})
    (used,) = {action["container"] for action in first["actions"]}

    until(lambda: used not in (left := containers(driver.config.home)) and len(left) == 1)
    (spare,) = containers(driver.config.home)
    _, second = driver.run("warm.look_around", {"count": 1})
    assert {action["container"] for action in second["actions"]} == {spare}


def test_a_task_sees_others_of_its_run_and_nothing_of_another_run(driver: Driver, engine_api: Any) -> None:
    words = (["one", "two"], ["three", "four"])
    begun = [driver.begin("warm.pry_twice", {"words": pair}) for pair in words]
    for said, path in (("ready", "/tmp/look"), ("looked", "/tmp/leave")):
        for _, name in begun:
            until(lambda name=name, said=said: _have_said(driver, name, said) == 2)  # type: ignore[misc]
        used = {action["container"] for _, name in begun for action in driver.document(name)["actions"]}
        assert len(used) == 2, "each run has one container, with its parent and both children in it"
        for container in used:
            made = engine_api.exec_create(container, ["touch", path])
            engine_api.exec_start(made["Id"])
    for (process, _), pair in zip(begun, words, strict=True):
        assert driver.end(process)["outputs"] == [[[sorted(pair), sorted(pair)]] * 2]


def _have_said(driver: Driver, name: str, word: str) -> int:
    """How many children of a run have said a word."""
    children = [action["name"] for action in driver.document(name)["actions"] if action["parent"]]
    return sum(word in log(driver, {"run": name}, child).splitlines() for child in children)


def test_one_that_is_stopped_leaves_the_others_alone(driver: Driver) -> None:
    said, document = driver.run("warm.beside")
    containers_of = {action["task"]: action["container"] for action in document["actions"]}
    assert said["outputs"] == [["MaxRuntimeExceededError", containers_of["plain.patient"][:12]]]
    assert containers_of["plain.too_slow"] == containers_of["plain.patient"]


def test_too_little_memory_ends_the_action_alone(driver: Driver) -> None:
    said, document = driver.run("warm.starve")
    (first, second, third) = said["outputs"][0]
    assert second == "OOMError"
    assert first == third
    assert [action["attempts"][-1]["exit_code"] for action in document["actions"][1:]] == [0, 137, 0]


def test_a_parent_that_waits_keeps_nobody_from_the_pool(driver: Driver) -> None:
    said, document = driver.run("warm.nest", {"depth": 2})
    assert len(said["outputs"][0]) == 3
    # Each waits in its own container: there is one place in each.
    assert len({action["container"] for action in document["actions"]}) == 3


def test_a_worker_that_is_lost_is_a_reason_to_try_again(driver: Driver, engine_api: Any) -> None:
    process, name = driver.begin("warm.until_released", {"path": "/tmp/never"})
    action = driver.until_running(name, "plain.until_released")
    until(lambda: "waiting in attempt 0" in log(driver, {"run": name}, "a0"))
    engine_api.kill(action["container"])
    assert driver.end(process)["outputs"] == ["1"]
    (action,) = driver.document(name)["actions"]
    first, second = action["attempts"]
    assert first["error"]["code"] == "ContainerLost"
    assert "The worker was lost" in first["error"]["message"]
    assert first["container"] != second["container"]


def test_actions_outlive_a_control_plane_that_is_killed(driver: Driver, tmp_path: Path, engine_api: Any) -> None:
    config = replace(driver.config, home=tmp_path / "home", port=free_port())
    other = Driver(config, client.ensure(config))
    try:
        process, name = other.begin("warm.until_released", {"path": "/tmp/released"})
        action = other.until_running(name, "plain.until_released")
        until(lambda: "waiting in attempt 0" in log(other, {"run": name}, "a0"))
        os.kill(other.plane.pid, signal.SIGKILL)
        os.waitpid(other.plane.pid, 0)
        other.plane = client.ensure(config)
        assert other.until_running(name, "plain.until_released")["container"] == action["container"]
        made = engine_api.exec_create(action["container"], ["touch", "/tmp/released"])
        engine_api.exec_start(made["Id"])
        assert other.end(process)["outputs"] == ["0"]
        lines = log(other, {"run": name}, "a0").splitlines()
        assert [line for line in lines if line in ("waiting in attempt 0", "released")] == [
            *("waiting in attempt 0", "released")
        ]
        # It takes no more, and is gone.
        until(lambda: action["container"] not in containers(config.home))
    finally:
        client.stop(config)
    assert containers(config.home) == []


def test_containers_are_started_ahead_of_what_a_task_called_before(
    driver: Driver, tmp_path: Path, engine_api: Any
) -> None:
    config = replace(driver.config, home=tmp_path / "home", port=free_port(), warm=False)
    other = Driver(config, client.ensure(config))
    labels = [f"{LABEL}.home={make(config.home)}", f"{LABEL}.ahead"]
    begun = time.time()

    def ahead() -> set[str]:
        """All containers that were ever made ahead."""
        filters = {"type": "container", "event": "create", "label": labels}
        events = engine_api.events(since=begun, until=time.time(), filters=filters, decode=True)
        return {str(event["id"]) for event in events}

    try:
        other.run("warm.maybe", {"path": "/tmp"})
        assert ahead() == set()
        # What is not called is gone with its parent, or soon after.
        said, _ = other.run("warm.maybe", {"path": ""})
        assert said["outputs"] == ["nothing called"]
        until(lambda: len(ahead()) == 1)
        until(lambda: containers(config.home) == [])

        process, name = other.begin("warm.maybe", {"path": "/tmp/released"})
        action = other.until_running(name, "plain.until_released")
        assert action["container"] in ahead()
        until(lambda: "waiting in attempt 0" in log(other, {"run": name}, action["name"]))
        # It has no label that says whose it is; it is found again all the same.
        os.kill(other.plane.pid, signal.SIGKILL)
        os.waitpid(other.plane.pid, 0)
        other.plane = client.ensure(config)
        made = engine_api.exec_create(action["container"], ["touch", "/tmp/released"])
        engine_api.exec_start(made["Id"])
        assert other.end(process)["outputs"] == ["0"]
        (_, child) = other.document(name)["actions"]
        assert child["container"] == action["container"]
        assert log(other, {"run": name}, child["name"]).count("released") == 1
        # Another process, which has not seen what was called.
        count = len(ahead())
        other.run("warm.maybe", {"path": ""})
        assert len(ahead()) == count + 1
    finally:
        client.stop(config)
    assert containers(config.home) == []
