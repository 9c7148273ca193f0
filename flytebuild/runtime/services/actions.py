"""ActionsService, and QueueService and StateService over the same: what runs inside containers calls.

`Children` is the adapter; the three services differ in nothing but the names of their messages.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from flyteidl2.actions import actions_service_pb2 as actions_pb
from flyteidl2.actions.actions_service_connect import ActionsService
from flyteidl2.common.identifier_pb2 import ActionIdentifier
from flyteidl2.common.run_pb2 import RELATION_TYPE_RECOVER
from flyteidl2.workflow import queue_service_pb2 as queue_pb
from flyteidl2.workflow import state_service_pb2 as state_pb
from flyteidl2.workflow.queue_service_connect import QueueService
from flyteidl2.workflow.state_service_connect import StateService

from flytebuild.runtime.actions import Ledger
from flytebuild.runtime.conditions import Conditions
from flytebuild.runtime.model import Action, ActionKey, Kind, Phase, now
from flytebuild.runtime.names import check_name
from flytebuild.runtime.pods import contained
from flytebuild.runtime.records import UnknownError
from flytebuild.runtime.services import Context
from flytebuild.runtime.services.convert import key_of, refusals, update
from flytebuild.runtime.supervisor import Supervisor

HEARTBEAT = 15.0
"""Seconds after which a quiet stream repeats its sentinel, which also shows whether the client is still there."""

_KINDS = {"task": Kind.TASK, "trace": Kind.TRACE, "condition": Kind.CONDITION}


class Children:
    """Enqueues, watches and aborts the actions that a task starts."""

    def __init__(self, ledger: Ledger, supervisor: Supervisor, conditions: Conditions) -> None:
        self._ledger = ledger
        self._supervisor = supervisor
        self._conditions = conditions

    def enqueue(self, request: actions_pb.Action | queue_pb.EnqueueActionRequest) -> None:
        """Add a child action; a repeated request changes nothing."""
        key = key_of(request.action_id)
        kind = request.WhichOneof("spec")
        with refusals():
            check_name(key.name)
            if kind not in _KINDS:
                raise ConnectError(Code.INVALID_ARGUMENT, f"actions of kind `{kind}` cannot be executed locally yet")
            if kind == "condition" and request.condition.HasField("webhook"):
                name = request.condition.name
                raise ConnectError(Code.INVALID_ARGUMENT, f"the webhook of condition `{name}` cannot be called locally")
            action = Action(
                key=key,
                parent=request.parent_action_name,
                kind=_KINDS[kind],
                input_uri=request.input_uri,
                output_base=request.run_output_base,
                created=now(),
                group=request.group,
            )
            if kind == "trace":
                outputs = request.trace.outputs.output_uri
                phase = Phase(request.trace.phase or Phase.SUCCEEDED)
                action = replace(action, trace=request.trace, phase=phase, ended=now(), outputs=outputs)
            elif kind == "condition":
                action = replace(action, condition=request.condition, phase=Phase.PAUSED)
            else:
                action = replace(action, task=contained(request.task.spec), cache_key=request.task.cache_key.value)
            if kind != "trace" and (earlier := self._recovered(key)) is not None:
                outputs, value = earlier.outputs, earlier.value
                action = replace(action, phase=Phase.RECOVERED, ended=now(), outputs=outputs, value=value)
            is_new = self._ledger.add(action)
        if is_new and action.phase is Phase.QUEUED:
            self._supervisor.submit(key)
        if is_new and action.phase is Phase.PAUSED:
            self._conditions.begin(key)

    def _recovered(self, key: ActionKey) -> Action | None:
        """What an action did in the run that its own run recovers: actions of one name are the same in both."""
        spec = self._ledger.run(key.run).spec
        if spec.relation.relation_type != RELATION_TYPE_RECOVER or key.name in spec.recover.force_rerun_actions:
            return None
        try:
            earlier = self._ledger.action(ActionKey(spec.relation.related_to.name, key.name))
        except UnknownError:
            return None
        return earlier if earlier.phase in (Phase.SUCCEEDED, Phase.RECOVERED) else None

    async def watch(self, parent: ActionIdentifier) -> AsyncIterator[state_pb.ActionUpdate | None]:
        """The children of an action as they are, None for the sentinel, then what changes."""
        key = key_of(parent)
        with refusals():
            run = self._ledger.run(key.run)
            is_first = True
            async for changed in self._ledger.watch(key.run, lambda child: child.parent == key.name, HEARTBEAT):
                for child in changed:
                    yield update(run, child)
                if is_first or not changed:
                    yield None
                is_first = False

    def abort(self, identifier: ActionIdentifier, reason: str) -> None:
        """End a child and everything below it."""
        with refusals():
            self._supervisor.abort(self._ledger.action(key_of(identifier)).key, reason or "its parent cancelled it")


class Actions(ActionsService):  # type: ignore[misc]
    """The protocol of current SDKs."""

    def __init__(self, children: Children) -> None:
        self._children = children

    async def enqueue(self, request: actions_pb.EnqueueRequest, _ctx: Context) -> actions_pb.EnqueueResponse:
        """Start a child action."""
        self._children.enqueue(request.action)
        return actions_pb.EnqueueResponse()

    async def watch_for_updates(
        self, request: actions_pb.WatchForUpdatesRequest, _ctx: Context
    ) -> AsyncIterator[actions_pb.WatchForUpdatesResponse]:
        """Follow the children of one action."""
        async for item in self._children.watch(request.parent_action_id):
            if item is None:
                yield actions_pb.WatchForUpdatesResponse(control_message=state_pb.ControlMessage(sentinel=True))
            else:
                yield actions_pb.WatchForUpdatesResponse(action_update=item)

    async def abort(self, request: actions_pb.AbortRequest, _ctx: Context) -> actions_pb.AbortResponse:
        """Abort a child action."""
        self._children.abort(request.action_id, request.reason)
        return actions_pb.AbortResponse()


class Queue(QueueService):  # type: ignore[misc]
    """The first half of the protocol of earlier SDKs."""

    def __init__(self, children: Children) -> None:
        self._children = children

    async def enqueue_action(
        self, request: queue_pb.EnqueueActionRequest, _ctx: Context
    ) -> queue_pb.EnqueueActionResponse:
        """Start a child action."""
        self._children.enqueue(request)
        return queue_pb.EnqueueActionResponse()

    async def abort_queued_action(
        self, request: queue_pb.AbortQueuedActionRequest, _ctx: Context
    ) -> queue_pb.AbortQueuedActionResponse:
        """Abort a child action."""
        self._children.abort(request.action_id, request.reason)
        return queue_pb.AbortQueuedActionResponse()


class State(StateService):  # type: ignore[misc]
    """The second half of the protocol of earlier SDKs."""

    def __init__(self, children: Children) -> None:
        self._children = children

    async def watch(self, request: state_pb.WatchRequest, _ctx: Context) -> AsyncIterator[state_pb.WatchResponse]:
        """Follow the children of one action."""
        async for item in self._children.watch(request.parent_action_id):
            if item is None:
                yield state_pb.WatchResponse(control_message=state_pb.ControlMessage(sentinel=True))
            else:
                yield state_pb.WatchResponse(action_update=item)
