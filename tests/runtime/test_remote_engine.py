"""Runs on an engine that only `ssh` leads to: nothing there reaches this machine but through that."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flytebuild import engine
from flytebuild.runtime import client
from flytebuild.runtime.addresses import LABEL
from flytebuild.runtime.home import make
from flytebuild.runtime.process import End
from flytebuild.runtime.relay import network_of
from tests.conftest import Machine
from tests.runtime.driver import Driver, configured, containers
from tests.runtime.far import Far, far_away

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def far(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    """The environment leads there as long as this lasts."""
    with far_away(tmp_path_factory.mktemp("far"), machine) as found, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", found.url)
        patch.setenv("PATH", str(found.tools), prepend=":")
        yield found


@pytest.fixture(scope="module")
def driver(far: Far, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """A control plane here, whose containers are there; nothing is left there at its end."""
    home = tmp_path_factory.mktemp("home")
    config = configured(far.host.machine, home)
    made = Driver(config, client.ensure(config))
    assert networks(home) == []
    yield made
    assert client.stop(config) is End.STOPPED
    assert containers(home) == []
    assert networks(home) == []


def networks(home: Path) -> list[str]:
    connection = engine.connect()
    try:
        return [item.name for item in connection.networks.list(names=[network_of(make(home))])]
    finally:
        connection.close()


def relay_of(home: Path, api: Any, other_than: str = "") -> str:
    """The container of the relay, once there is one."""
    labels = [f"{LABEL}.home={make(home)}", f"{LABEL}.relay"]
    deadline = time.monotonic() + 60
    while not (found := [str(item["Id"]) for item in api.containers(filters={"label": labels})]) or other_than in found:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found[0]


def test_files_and_logs_come_through(driver: Driver) -> None:
    said, document = driver.run("pass_file", {"text": "hello"})
    assert said == {"phase": "succeeded", "outputs": ["hello"]}
    assert len({action["container"] for action in document["actions"]}) == 3
    assert f"parent runs in {document['actions'][0]['container'][:12]}" in driver.flyte("get", "logs", document["run"])


def test_no_port_of_this_machine_is_open_to_the_other(far: Far, driver: Driver) -> None:
    listening = [
        fields[1]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for fields in map(str.split, Path(table).read_text().splitlines()[1:])
        if fields[3] == "0A" and fields[1].endswith(f":{driver.config.port:04X}")
    ]
    assert listening == [f"0100007F:{driver.config.port:04X}"]


def test_a_run_outlives_a_relay_and_a_control_plane_that_are_killed(driver: Driver) -> None:
    process, name = driver.begin("watch_a_nap", {"seconds": 4.0})
    driver.until_running(name, "flows.nap")
    connection = engine.connect()
    try:
        first = relay_of(driver.config.home, connection.api)
        connection.api.kill(first)
        second = relay_of(driver.config.home, connection.api, other_than=first)
        os.kill(driver.plane.pid, signal.SIGKILL)
        os.waitpid(driver.plane.pid, 0)
        driver.plane = client.ensure(driver.config)
        assert driver.end(process) == {"phase": "succeeded", "outputs": ["awake"]}
        assert relay_of(driver.config.home, connection.api) not in (first, second)
    finally:
        connection.close()
    assert [action["attempt"] for action in driver.document(name)["actions"]] == [1, 1]
