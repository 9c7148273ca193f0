"""From the control plane's values to the protocol's messages and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from flyteidl2.common.identifier_pb2 import ActionIdentifier, RunIdentifier
from flyteidl2.common.phase_pb2 import ActionPhase
from flyteidl2.core.execution_pb2 import ContainerError, ExecutionError
from flyteidl2.task.common_pb2 import OutputReferences
from flyteidl2.task.task_definition_pb2 import TaskIdentifier
from flyteidl2.workflow import run_definition_pb2 as definition
from flyteidl2.workflow.state_service_pb2 import ActionUpdate
from google.protobuf.timestamp_pb2 import Timestamp

from flytebuild.runtime.actions import ExistsError, FinishedError, SealedError
from flytebuild.runtime.model import Action, ActionKey, Attempt, Failure, Kind, Phase, Run, now
from flytebuild.runtime.pods import PodError
from flytebuild.runtime.records import UnknownError
from flytebuild.runtime.storage import ObjectNameError


@contextmanager
def refusals() -> Iterator[None]:
    """Answer with the protocol's code for what the core refuses."""
    try:
        yield
    except UnknownError as error:
        raise ConnectError(Code.NOT_FOUND, str(error.args[0])) from error
    except ExistsError as error:
        raise ConnectError(Code.ALREADY_EXISTS, str(error)) from error
    except FinishedError as error:
        raise ConnectError(Code.ABORTED, str(error)) from error
    except SealedError as error:
        raise ConnectError(Code.UNAVAILABLE, str(error)) from error
    except (ObjectNameError, PodError) as error:
        raise ConnectError(Code.INVALID_ARGUMENT, str(error)) from error


def key_of(identifier: ActionIdentifier) -> ActionKey:
    """An action's key from its identifier."""
    return ActionKey(identifier.run.name, identifier.name)


def identifier(run: Run, name: str) -> ActionIdentifier:
    """An action's identifier."""
    return ActionIdentifier(
        run=RunIdentifier(org=run.org, project=run.project, domain=run.domain, name=run.name), name=name
    )


def timestamp(at: datetime) -> Timestamp:
    """A time as a message."""
    message = Timestamp()
    message.FromDatetime(at)
    return message


def update(run: Run, action: Action) -> ActionUpdate:
    """What a parent is told of a child.

    The place of the outputs goes with every phase, also before there are any: the SDK warns when it is missing.
    """
    outputs = action.outputs or action.attempt_outputs(max(len(action.attempts), 1))
    message = ActionUpdate(
        action_id=identifier(run, action.key.name), phase=ActionPhase.Name(action.phase), output_uri=outputs
    )
    if action.value is not None:
        message.value.CopyFrom(action.value)
    if action.failure is not None:
        message.error.CopyFrom(execution_error(action.failure))
    elif action.phase is Phase.ABORTED:
        message.error.CopyFrom(execution_error(Failure("Aborted", action.abort_reason or "The action was aborted")))
    return message


def execution_error(failure: Failure) -> ExecutionError:
    """A failure as the SDK turns it into an exception."""
    return ExecutionError(
        code=failure.code,
        message=failure.message,
        kind=ExecutionError.SYSTEM if failure.is_system else ExecutionError.USER,
        recoverability=ContainerError.RECOVERABLE if failure.is_recoverable else ContainerError.NON_RECOVERABLE,
    )


def error_info(failure: Failure) -> definition.ErrorInfo:
    """A failure as it is shown."""
    kind = definition.ErrorInfo.KIND_SYSTEM if failure.is_system else definition.ErrorInfo.KIND_USER
    return definition.ErrorInfo(message=failure.message, kind=kind, code=failure.code)


def status(action: Action) -> definition.ActionStatus:
    """Where an action stands."""
    message = definition.ActionStatus(
        phase=ActionPhase.Name(action.phase),
        start_time=timestamp(action.created),
        attempts=len(action.attempts),
        cache_status=int(action.cache),
        duration_ms=int(((action.ended or now()) - action.created).total_seconds() * 1000),
    )
    if action.ended:
        message.end_time.CopyFrom(timestamp(action.ended))
    return message


def metadata(run: Run, action: Action) -> definition.ActionMetadata:
    """What an action is."""
    message = definition.ActionMetadata(
        parent=action.parent or "",
        group=action.group,
        action_type=int(action.kind),
        environment_name=action.environment,
        funtion_name=action.task_name.rpartition(".")[2],
        source=definition.RUN_SOURCE_CLI,
    )
    if action.task is not None:
        template = action.task.task_template
        message.task.CopyFrom(
            definition.TaskActionMetadata(
                id=TaskIdentifier(
                    org=run.org,
                    project=run.project,
                    domain=run.domain,
                    name=template.id.name,
                    version=template.id.version,
                ),
                task_type=template.type,
                short_name=action.task.short_name,
            )
        )
    elif action.trace is not None:
        message.trace.name = action.trace.name
    elif action.condition is not None:
        message.condition.name = action.condition.name
        message.condition.type.CopyFrom(action.condition.type)
    return message


def summary(run: Run, action: Action) -> definition.Action:
    """An action as lists show it."""
    return definition.Action(id=identifier(run, action.key.name), metadata=metadata(run, action), status=status(action))


def details(run: Run, action: Action) -> definition.ActionDetails:
    """All of an action."""
    message = definition.ActionDetails(
        id=identifier(run, action.key.name),
        metadata=metadata(run, action),
        status=status(action),
        attempts=[_attempt(attempt) for attempt in action.attempts],
    )
    if action.task is not None:
        message.task.CopyFrom(action.task)
    elif action.trace is not None:
        message.trace.CopyFrom(action.trace.spec)
    elif action.condition is not None:
        message.condition.CopyFrom(action.condition)
    if action.failure is not None:
        message.error_info.CopyFrom(error_info(action.failure))
    elif action.phase is Phase.ABORTED:
        message.abort_info.reason = action.abort_reason or ""
    return message


def _attempt(attempt: Attempt) -> definition.ActionAttempt:
    steps = attempt.transitions
    message = definition.ActionAttempt(
        phase=ActionPhase.Name(attempt.phase),
        start_time=timestamp(attempt.created),
        attempt=attempt.number,
        outputs=OutputReferences(output_uri=f"{attempt.outputs}/outputs.pb"),
        logs_available=attempt.container is not None or attempt.phase.is_terminal,
        cluster="local",
        phase_transitions=[
            definition.PhaseTransition(
                phase=ActionPhase.Name(step.phase),
                start_time=timestamp(step.at),
                end_time=timestamp(following.at) if following else None,
            )
            for step, following in zip(steps, (*steps[1:], None), strict=True)
        ],
    )
    if attempt.ended:
        message.end_time.CopyFrom(timestamp(attempt.ended))
    if attempt.failure:
        message.error_info.CopyFrom(error_info(attempt.failure))
    return message


def is_trace(action: Action) -> bool:
    """Whether an action is a traced function, which has no container and no attempts."""
    return action.kind is Kind.TRACE
