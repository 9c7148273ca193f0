"""Between containers and the control plane: a network that is cut, and a container that never asks for anything."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import flyte
import pytest

from flytebuild import engine
from flytebuild.authoring.images import define
from flytebuild.runtime import client
from flytebuild.runtime.process import End
from flytebuild.spec.model import ExternalImage
from tests.conftest import Machine
from tests.runtime import samples
from tests.runtime.driver import Driver, configured, containers
from tests.runtime.test_app import create

CUT_SECONDS = 30.0

pytestmark = pytest.mark.engine


def link_of(container: str) -> str:
    """The machine's end of a container's network."""
    connection = engine.connect()
    try:
        told = connection.containers.get(container).exec_run(["cat", "/sys/class/net/eth0/iflink"])
    finally:
        connection.close()
    number = told.output.decode().strip()
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout.splitlines()
    (name,) = [line.split()[1].partition("@")[0] for line in links if line.startswith(f"{number}:")]
    return name


@contextlib.contextmanager
def cut(names: list[str]) -> Iterator[None]:
    """Nothing gets through inside the block."""
    for name in names:
        subprocess.run(["ip", "link", "set", "dev", name, "down"], check=True)
    try:
        yield
    finally:
        for name in names:
            subprocess.run(["ip", "link", "set", "dev", name, "up"], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take a link down: `sudo make test`")
def test_a_run_outlives_a_network_that_is_cut_for_half_a_minute(driver: Driver) -> None:
    process, name = driver.begin("watch_a_nap", {"seconds": 5.0})
    driver.until_running(name, "flows.nap")
    links = [link_of(container) for container in containers(driver.config.home)]
    assert len(links) == 2
    with cut(links):
        # The child ends its work meanwhile, cannot bring its output, and its parent cannot hear of it.
        time.sleep(CUT_SECONDS)
        assert driver.document(name)["phase"] == "RUNNING"
    assert driver.end(process) == {"phase": "succeeded", "outputs": ["awake"]}
    assert [action["attempt"] for action in driver.document(name)["actions"]] == [1, 1]


def test_a_container_that_never_asks_for_anything_is_given_up(machine: Machine, tmp_path: Path) -> None:
    config = configured(machine, tmp_path / "home", contact_timeout=1)
    driver = Driver(config, client.ensure(config))
    try:
        image = define(flyte.Image.from_debian_base(), "image")
        assert isinstance(image, ExternalImage)
        spec = samples.task_spec()
        spec.task_template.container.image = image.reference
        del spec.task_template.container.args[:]
        spec.task_template.container.args.extend(["sleep", "600"])
        (action,) = driver.until_ended(create(driver.plane.endpoint, spec).name)["actions"]
        assert (action["phase"], action["error"]["code"]) == ("FAILED", "ContainerSilent")
        assert "no request within 1 s of its start" in action["error"]["message"]
        assert action["attempts"][0]["heard"] is None
    finally:
        assert client.stop(config) is End.STOPPED
    assert containers(config.home) == []
