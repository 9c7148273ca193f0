"""Secrets and projects as the SDK and the `flyte` command see them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from flyteidl2.common.identifier_pb2 import ProjectIdentifier
from flyteidl2.common.run_pb2 import OffloadedInputData
from flyteidl2.workflow import run_service_pb2 as pb
from flyteidl2.workflow.run_service_connect import RunServiceClientSync

from flytebuild.runtime import flyte_config
from flytebuild.runtime.verdict import Exit
from tests.runs import until_ended
from tests.runtime import samples
from tests.runtime.conftest import ScriptedExecutor
from tests.runtime.driver import WORKFLOW

Call = Callable[..., str]


@pytest.fixture
def call(server: str, tmp_path: Path) -> Call:
    """Runs a program of the virtual environment whose SDK is pointed to the control plane."""
    config = tmp_path / "flyte/config.yaml"
    config.parent.mkdir()
    flyte_config.write(server, config)
    environ = {**os.environ, "FLYTECTL_CONFIG": str(config), "FLYTE_DISABLE_TELEMETRY": "1", "COLUMNS": "300"}

    def run(program: str, *arguments: str) -> str:
        command = [str(Path(sys.executable).with_name(program)), *arguments]
        done = subprocess.run(command, cwd=WORKFLOW, env=environ, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_the_sdk(server: str, call: Call, executor: ScriptedExecutor, tmp_path: Path) -> None:
    said = json.loads(call("python", "secrets_and_projects.py").splitlines()[-1])
    assert said["created"] == ["API_KEY", "in-a-file"]
    assert "there is a secret `api-key` already; `flyte delete secret api-key` forgets it" in said["again"]
    assert "the value of secret `picture` is not text" in said["binary"]
    assert said["one"]["id"] == {
        "name": "API_KEY",
        "organization": "local",
        "project": "flytebuild",
        "domain": "development",
    }
    assert "first" not in json.dumps(said["one"])
    assert (said["left"], said["archived"]) == (["API_KEY"], [])
    assert "there is no secret `in-a-file`" in said["gone"]
    assert "there is no secret `never`" in said["delete"]
    assert (said["projects"], said["project"]) == ({"flytebuild": ["development"]}, "flytebuild")
    assert "nothing here belongs to a project `never`" in said["unknown"]
    assert "projects need not be created on this machine" in said["new"]

    executor.script = lambda _order, _number: Exit(0)
    spec = samples.task_spec()
    spec.task_template.security_context.secrets.add(key="api_key", env_var="KEY")
    request = pb.CreateRunRequest(
        task_spec=spec,
        project_id=ProjectIdentifier(organization="local", domain="production", name="other"),
        offloaded_input_data=OffloadedInputData(uri="s3://flytebuild/inputs/x"),
    )
    run = RunServiceClientSync(server).create_run(request).run.action.id.run.name
    assert until_ended(server, run) == "SUCCEEDED"
    assert executor.orders[0].environment["KEY"] == "first"
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"first" in path.read_bytes()]


def test_the_command(call: Call) -> None:
    call("flyte", "create", "secret", "API_KEY", "--value", "hidden")
    listed = call("flyte", "get", "secret")
    assert "API_KEY" in listed
    assert "FULLY_PRESENT" in listed
    assert "hidden" not in listed
    assert "flytebuild" in call("flyte", "get", "project")
