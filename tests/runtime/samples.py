"""Tasks, runs and actions as the SDK would send them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from flyteidl2.core.execution_pb2 import ContainerError, ErrorDocument
from flyteidl2.core.literals_pb2 import KeyValuePair
from flyteidl2.core.tasks_pb2 import DataLoadingConfig
from flyteidl2.core.types_pb2 import SimpleType
from flyteidl2.task.run_pb2 import Envs, RunSpec
from flyteidl2.task.task_definition_pb2 import TaskSpec

from flytebuild.runtime.model import Action, ActionKey, Attempt, Kind, Phase, Run, Transition

NOW = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=timezone.utc)


def task_spec(name: str = "env.work", *, retries: int = 0, timeout: float = 0) -> TaskSpec:
    """A task on image `image:1`."""
    spec = TaskSpec(short_name=name.rpartition(".")[2])
    spec.environment.name = name.rpartition(".")[0]
    template = spec.task_template
    template.id.name = name
    template.type = "python"
    template.container.image = "image:1"
    template.container.args.extend(["a0", "--inputs", "{{.input}}", "--outputs-path", "{{.outputPrefix}}"])
    template.metadata.retries.retries = retries
    if timeout:
        template.metadata.timeout.FromTimedelta(timedelta(seconds=timeout))
    return spec


def run(name: str = "r1", **variables: str) -> Run:
    """A run with variables of its own."""
    spec = RunSpec(envs=Envs(values=[KeyValuePair(key=key, value=value) for key, value in variables.items()]))
    return Run(name, "local", "flytebuild", "development", f"s3://flytebuild/runs/{name}", NOW, spec)


def action(name: str = "a0", parent: str | None = None, spec: TaskSpec | None = None, run_name: str = "r1") -> Action:
    """A queued action."""
    return Action(
        key=ActionKey(run_name, name),
        parent=parent,
        kind=Kind.TASK,
        input_uri=f"s3://flytebuild/runs/{run_name}/{name}/inputs.pb",
        output_base=f"s3://flytebuild/runs/{run_name}",
        created=NOW,
        task=spec or task_spec(),
    )


def error_document(code: str, message: str, *, recoverable: bool) -> bytes:
    """What the entrypoint writes after an exception."""
    kind = ContainerError.RECOVERABLE if recoverable else ContainerError.NON_RECOVERABLE
    return bytes(ErrorDocument(error=ContainerError(code=code, message=message, kind=kind)).SerializeToString())


def attempt(number: int = 1) -> Attempt:
    """A queued attempt at the run's first action."""
    return Attempt(number, action().attempt_outputs(number), (Transition(Phase.QUEUED, NOW),), "image:1")


def raw_spec() -> TaskSpec:
    """A task without Flyte, whose output `x` is a number that its container leaves in `/out`."""
    spec = task_spec()
    spec.task_template.type = "raw-container"
    spec.task_template.container.data_config.CopyFrom(
        DataLoadingConfig(enabled=True, input_path="/in", output_path="/out")
    )
    spec.task_template.interface.outputs.variables.add(key="x").value.type.simple = SimpleType.INTEGER
    return spec
