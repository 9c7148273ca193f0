"""The machine of this test run, as the scripts brought it up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import docker
import pytest

from scripts.machine.link import addresses
from scripts.machine.network import CANDIDATES, address_pool, bridge_address, hardware_address
from tests.conftest import TOP, Machine

STATE = Path(os.environ.get("TEST_MACHINE") or TOP / "build/test-machine").resolve()


def call(verb: str, state: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.machine", verb, "--state", str(state), *options]
    return subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)


def test_an_engine_has_a_network_of_its_own() -> None:
    assert bridge_address("172.16.0.0/16") == "172.16.0.1/17"
    assert address_pool("172.16.0.0/16") == {"base": "172.16.128.0/17", "size": 24}
    assert hardware_address("172.16.0.0/16") == "02:42:ac:10:00:01"
    assert addresses("172.16.0.0/16") == ("172.16.255.253", "172.16.255.254")
    assert len(CANDIDATES) == 16


def test_down_without_anything_there_is_done(tmp_path: Path) -> None:
    result = call("down", tmp_path / "state")
    assert (result.returncode, result.stderr) == (0, "machine: nothing to stop\n")


@pytest.mark.engine
def test_a_second_up_does_nothing(machine: Machine) -> None:
    result = call("up", STATE, "--bases", "all", "--json")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["started"] == []
    assert document["docker_host"] == machine.docker_host
    assert result.stderr == ""


@pytest.mark.engine
def test_the_environment_is_for_a_shell_to_read(machine: Machine) -> None:
    result = call("up", STATE, "--bases", "all", "--env")
    lines = result.stdout.splitlines()
    assert f"export DOCKER_HOST={machine.docker_host}" in lines
    assert all(line.startswith("export ") for line in lines)
    mirrors = ",".join(f"{name}={target}" for name, target in machine.mirrors.items())
    assert f"export FLYTEBUILD_MIRRORS={mirrors}" in lines


@pytest.mark.engine
def test_a_second_engine_has_the_registry_and_nothing_else_of_the_first(
    machine: Machine, second_machine: Machine
) -> None:
    assert second_machine.docker_host != machine.docker_host
    assert second_machine.registry == machine.registry
    found = []
    for host in (machine.docker_host, second_machine.docker_host):
        client = docker.DockerClient(host)
        found.append((client.info()["Driver"], client.info()["ID"]))
        client.close()
    (first_driver, first_id), (second_driver, second_id) = found
    assert (second_driver, second_id) != (first_driver, first_id)
    assert second_driver == "overlayfs"
