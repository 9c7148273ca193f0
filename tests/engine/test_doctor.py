"""`flytebuild doctor` on the real engine and the real registry."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from flytebuild.engine import EngineAddress
from tests import plain
from tests.buildkit.doors import Engine, unix_door
from tests.conftest import Machine
from tests.engine.conftest import Workspace

pytestmark = pytest.mark.engine


def checks(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    document = json.loads(done.stdout)
    assert document["schema"] == "flytebuild.doctor/1"
    return {item["subject"]: item for item in document["checks"]}


def test_everything_is_there_and_nothing_is_left_behind(workspace: Workspace, machine: Machine) -> None:
    found = checks(workspace.flytebuild("doctor", "--json"))
    assert list(found) == [
        "builder",
        "buildkit",
        "capabilities",
        "platforms",
        "store",
        "build cache",
        "engine",
        "compression",
        "disk",
        "engine's clock",
        "registry",
        "credentials",
        "push",
        "mounts",
        "oci types",
        "referrers",
        "registry's clock",
        "flyte",
        "ca bundle",
    ]
    # The place in the registry is this test's own, and empty.
    assert {name for name, item in found.items() if item["status"] != "ok"} <= {"mounts", "disk"}
    assert found["mounts"]["status"] == "unknown"
    assert f"`{machine.docker_host}`, from `DOCKER_HOST`" in found["builder"]["message"]
    assert "with the " in found["capabilities"]["message"]
    host, _, path = workspace.registry.partition("/")
    assert plain.get(f"http://{host}/v2/{path}/flyte/tags/list").status_code == 404
    assert path not in plain.get(f"http://{host}/v2/_catalog?n=10000").text


def test_a_builder_that_is_no_engine(workspace: Workspace, machine: Machine, tmp_path: Path) -> None:
    dead = "unix:///nothing.sock"
    with unix_door(tmp_path / "bk.sock", Engine(EngineAddress(machine.docker_host, "the machine")).buildkit) as path:
        address = f"unix://{path}"
        # A repository that holds something; it is not pushed to.
        registry = f"{machine.mirrors['ghcr.io']}/flyteorg"
        environ = {"DOCKER_HOST": dead, "FLYTEBUILD_REGISTRY": registry}
        done = workspace.flytebuild("doctor", "--json", BUILDKIT_HOST=address, **environ)
        fleet = checks(workspace.flytebuild("doctor", "--json", FLYTEBUILD_BUILDER=f"{dead},{address}", **environ))
    found = checks(done)
    assert found["builder"]["message"] == f"BuildKit at `{address}`, from `BUILDKIT_HOST`"
    assert found["mounts"]["status"] == "ok"
    assert found["engine"]["status"] == "warning"
    assert found["engine"]["message"].startswith("`flytebuild run` needs one: No Docker Engine answers")
    assert fleet["builder 1"]["status"] == "warning"
    assert fleet["builder 1"]["message"].startswith(f"The others build without it: No BuildKit answers at `{dead}`")
    told = {name.partition(" 2")[0]: item for name, item in fleet.items() if name.endswith(" 2")}
    assert told.keys() == {"builder", "buildkit", "capabilities", "platforms", "store", "build cache"}
    assert {item["status"] for item in told.values()} == {"ok"}


def test_what_fails_is_told_with_the_exit_code_of_a_build(workspace: Workspace) -> None:
    failed = workspace.flytebuild("doctor", code=69, BUILDKIT_HOST="tcp://127.0.0.1:1", FLYTEBUILD_REGISTRY="")
    lines = failed.stdout.splitlines()
    assert lines[0].startswith(
        "failed   builder         No BuildKit answers at `tcp://127.0.0.1:1` (from `BUILDKIT_HOST`)"
    )
    assert lines[1].strip().startswith("hint: start it")
    assert "failed   registry        None is configured, and the builder is no Docker Engine" in failed.stdout
    assert "ok       engine          Docker " in failed.stdout
    assert failed.stderr == ""
