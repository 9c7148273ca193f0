"""What the control plane tells of an action that is to be run again by hand."""

from __future__ import annotations

import io
import tarfile

import pytest
from flyteidl2.common.identifier_pb2 import ProjectIdentifier
from flyteidl2.core.tasks_pb2 import DataLoadingConfig
from flyteidl2.task.common_pb2 import Inputs, NamedLiteral
from flyteidl2.task.task_definition_pb2 import TaskSpec
from flyteidl2.workflow import run_service_pb2 as pb
from flyteidl2.workflow.run_service_connect import RunServiceClientSync

from flytebuild.runtime.again import without_code
from flytebuild.runtime.executor import StartError
from flytebuild.runtime.verdict import Exit
from tests import plain
from tests.runs import until_ended
from tests.runtime import samples
from tests.runtime.conftest import CREDENTIALS, ScriptedExecutor

OWNER = {"Authorization": f"Bearer {CREDENTIALS.owner_token}"}


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (["a0", "--tgz", "s3://x", "--dest", ".", "--version", "v"], ["a0", "--version", "v"]),
        (["a0", "--pkl", "s3://x", "--dest", "."], ["a0", "--pkl", "s3://x"]),
        (["python", "-c", "print()"], ["python", "-c", "print()"]),
    ],
)
def test_code_is_taken_as_it_lies_there(arguments: list[str], left: list[str]) -> None:
    assert without_code(arguments) == left


def failed_run(server: str, spec: TaskSpec) -> str:
    """A run of a task whose container ends with 3."""
    number = NamedLiteral(name="x")
    number.value.scalar.primitive.integer = 7
    request = pb.CreateRunRequest(
        task_spec=spec,
        project_id=ProjectIdentifier(organization="local", domain="development", name="flytebuild"),
        inputs=Inputs(literals=[number]),
    )
    run = str(RunServiceClientSync(server).create_run(request).run.action.id.run.name)
    assert until_ended(server, run) == "FAILED"
    return run


def test_what_the_owner_is_told(server: str, executor: ScriptedExecutor) -> None:
    executor.script = lambda _order, _number: Exit(3)
    spec = samples.task_spec()
    spec.task_template.container.env.add(key="MARK", value="of the task")
    run = failed_run(server, spec)
    told = plain.get(f"{server}/again/{run}/a0", headers=OWNER).json()
    (ran,) = executor.orders
    assert (told["task"], told["attempt"], told["phase"]) == ("env.work", 1, "FAILED")
    assert (told["image"], told["environment"]["MARK"], told["inputs"]) == ("image:1", "of the task", {"x": 7})
    outputs = ran.arguments[-1]
    assert (told["entrypoint"], told["arguments"][:-1]) == ([], list(ran.arguments[:-1]))
    assert told["arguments"][-1].startswith(f"{outputs}-again-"), "the attempt's own outputs stay"
    assert not told["has_files"]
    assert plain.get(f"{server}{told['error']}").status_code == 404
    assert len(plain.get(f"{server}/api/runs/{run}").json()["actions"][0]["attempts"]) == 1


def test_which_secrets_it_wants(server: str, executor: ScriptedExecutor) -> None:
    executor.script = lambda _order, _number: Exit(3)
    spec = samples.task_spec()
    for group, key, variable in (("my", "token", "TOKEN"), ("", "other", "OTHER"), ("my", "token", "")):
        spec.task_template.security_context.secrets.add(group=group, key=key, env_var=variable)
    run = failed_run(server, spec)
    told = plain.get(f"{server}/again/{run}/a0", headers=OWNER)
    assert told.status_code == 409
    assert "asks for the secret `my_token`" in told.text
    assert "--secret my_token=…" in told.text
    asked = plain.get(f"{server}/again/{run}/a0/secrets", headers=OWNER).json()
    assert asked == {"secrets": ["my_token", "other"]}
    values = {"values": {"my_token": "s3cr3t", "other": "0ther"}, "missing": {}}
    assert plain.put(f"{server}/secrets", json=values, headers=OWNER).is_success
    document = plain.get(f"{server}/again/{run}/a0", headers=OWNER).json()
    assert (document["environment"]["TOKEN"], document["environment"]["OTHER"]) == ("s3cr3t", "0ther")
    assert document["secret_files"] == ["my/token"]
    assert plain.get(f"{server}/again/{run}/a0/secrets").status_code in (401, 403)


def test_nobody_else_is_told_anything(server: str, executor: ScriptedExecutor) -> None:
    executor.script = lambda _order, _number: Exit(3)
    run = failed_run(server, samples.task_spec())
    for headers in ({}, {"Authorization": "Bearer guessed"}):
        answer = plain.get(f"{server}/again/{run}/a0", headers=headers)
        assert answer.status_code in (401, 403)
        assert "image" not in answer.text


def test_a_container_without_flyte_is_fed_again(server: str, executor: ScriptedExecutor) -> None:
    executor.script = lambda _order, _number: Exit(3)
    spec = samples.task_spec()
    container = spec.task_template.container
    container.data_config.CopyFrom(DataLoadingConfig(enabled=True, input_path="/in", output_path="/out"))
    del container.args[:]
    container.args.extend(["tool", "--tgz", "{{.inputs.x}}"])
    run = failed_run(server, spec)
    told = plain.get(f"{server}/again/{run}/a0", headers=OWNER).json()
    assert told["arguments"] == ["tool", "--tgz", "7"], "this is its own option"
    assert (told["has_files"], told["code"], told["error"]) == (True, None, None)
    archive = plain.get(f"{server}/again/{run}/a0/files", headers=OWNER).content
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        content = files.extractfile("in/x")
        assert content is not None
        assert content.read() == b"7"
        assert "out" in files.getnames()


def test_what_cannot_be_run_again(server: str, executor: ScriptedExecutor) -> None:
    executor.script = lambda _order, _number: StartError("ImagePullBackOff", "there is no such image")
    run = failed_run(server, samples.task_spec())
    for path in (f"{run}/never", "never/a0", f"{run}", f"{run}/a0/other"):
        assert plain.get(f"{server}/again/{path}", headers=OWNER).status_code == 404
    assert plain.post(f"{server}/again/{run}/a0", headers=OWNER).status_code == 405


def test_the_page_of_a_failed_action_says_how(server: str, executor: ScriptedExecutor) -> None:
    executor.script = lambda _order, _number: Exit(3)
    run = failed_run(server, samples.task_spec())
    page = plain.get(f"{server}/v2/domain/development/project/flytebuild/runs/{run}").text
    assert f"<code>flytebuild rerun --shell {run} a0</code>" in page
