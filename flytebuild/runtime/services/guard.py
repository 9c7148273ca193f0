"""What a container may ask of Flyte's services: for each message, what it touches; what is not in the table is refused.

The owner may ask everything. A container may touch its own run, and the runs that one has started; the addresses that
it names must be those that it may read or write itself, since the control plane reads and writes them for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from flyteidl2.actions import actions_service_pb2 as actions_pb
from flyteidl2.cluster import payload_pb2 as cluster_pb
from flyteidl2.dataproxy import dataproxy_service_pb2 as data_pb
from flyteidl2.task import task_service_pb2 as task_pb
from flyteidl2.workflow import queue_service_pb2 as queue_pb
from flyteidl2.workflow import run_service_pb2 as run_pb
from flyteidl2.workflow import state_service_pb2 as state_pb

from flytebuild.runtime.callers import CALLER, Guest, Owner
from flytebuild.runtime.reach import Reach
from flytebuild.runtime.services import Context
from flytebuild.runtime.services.bundle import bundle_of
from flytebuild.runtime.storage import ObjectNameError, check_uri


@dataclass(frozen=True, slots=True)
class Touched:
    """The runs that a request is about, and the addresses that it names; empty ones name nothing."""

    runs: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


def _of_action(request: Any) -> Touched:
    return Touched(runs=(request.action_id.run.name,))


def _of_run(request: Any) -> Touched:
    return Touched(runs=(request.run_id.name,))


def _of_parent(request: Any) -> Touched:
    return Touched(runs=(request.parent_action_id.run.name,))


def _nothing(_request: Any) -> Touched:
    return Touched()


def _enqueued(action: actions_pb.Action | queue_pb.EnqueueActionRequest) -> Touched:
    reads = (action.input_uri, bundle_of(action.task.spec.task_template))
    writes = (action.run_output_base, action.trace.outputs.output_uri)
    return Touched((action.action_id.run.name,), reads, writes)


def _created(request: run_pb.CreateRunRequest) -> Touched:
    spec = request.run_spec
    runs = (spec.relation.related_to.name,) if spec.relation.related_to.name else ()
    reads = (request.offloaded_input_data.uri, bundle_of(request.task_spec.task_template))
    return Touched(runs, reads, (spec.run_base_dir, spec.raw_data_storage.raw_data_prefix))


def _uploaded(request: data_pb.CreateUploadLocationRequest) -> Touched:
    if request.filename_root:
        raise ConnectError(Code.PERMISSION_DENIED, "a task writes folders to the object store itself")
    return Touched()


Rule: TypeAlias = Callable[[Any], Touched]

RULES: Mapping[type, Rule] = {
    cluster_pb.SelectClusterRequest: _nothing,
    # Actions of its run.
    actions_pb.EnqueueRequest: lambda request: _enqueued(request.action),
    actions_pb.WatchForUpdatesRequest: _of_parent,
    actions_pb.AbortRequest: _of_action,
    queue_pb.EnqueueActionRequest: _enqueued,
    queue_pb.AbortQueuedActionRequest: _of_action,
    state_pb.WatchRequest: _of_parent,
    # Its run, and runs that it starts.
    run_pb.CreateRunRequest: _created,
    run_pb.GetRunDetailsRequest: _of_run,
    run_pb.WatchRunDetailsRequest: _of_run,
    run_pb.GetActionDetailsRequest: _of_action,
    run_pb.WatchActionDetailsRequest: _of_action,
    run_pb.ListActionsRequest: _of_run,
    run_pb.WatchActionsRequest: _of_run,
    run_pb.GetActionDataURIsRequest: _of_action,
    run_pb.AbortRunRequest: _of_run,
    run_pb.AbortActionRequest: _of_action,
    run_pb.SignalEventRequest: _of_action,
    # Its data. An upload is named by its content, and takes no other's place.
    data_pb.CreateUploadLocationRequest: _uploaded,
    data_pb.UploadInputsRequest: lambda request: Touched(writes=(request.base_dir,)),
    data_pb.GetActionDataRequest: _of_action,
    data_pb.CreateDownloadLinkRequest: lambda request: _of_action(request.action_attempt_id),
    data_pb.TailLogsRequest: _of_action,
    # Deployed tasks, which are there to be called by others.
    task_pb.GetTaskDetailsRequest: _nothing,
    task_pb.ListTasksRequest: _nothing,
    task_pb.ListVersionsRequest: _nothing,
}


class Guard:
    """An interceptor of all services."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    async def intercept_unary(
        self, call_next: Callable[[Any, Context], Awaitable[Any]], request: Any, ctx: Context
    ) -> Any:
        """Answer a request that may be asked."""
        self._check(request)
        return await call_next(request, ctx)

    def intercept_server_stream(
        self, call_next: Callable[[Any, Context], AsyncIterator[Any]], request: Any, ctx: Context
    ) -> AsyncIterator[Any]:
        """Answer a request that may be asked."""
        self._check(request)
        return call_next(request, ctx)

    def _check(self, request: Any) -> None:
        """Raises ConnectError for what the caller may not ask."""
        caller = CALLER.get(None)
        if isinstance(caller, Owner):
            return
        rule = RULES.get(type(request))
        if not isinstance(caller, Guest) or rule is None:
            raise ConnectError(Code.PERMISSION_DENIED, "containers may not ask for this")
        touched = rule(request)
        own = caller.key.run
        for run in touched.runs:
            if not self._reach.is_one(own, run):
                raise ConnectError(Code.PERMISSION_DENIED, f"a container of run `{own}` has no part in run `{run}`")
        access = self._reach.of(own)
        for uri, may in (
            *((uri, access.may_read) for uri in touched.reads),
            *((uri, access.may_write) for uri in touched.writes),
        ):
            if uri and not (_is_plain(uri) and may(uri.rstrip("/"))):
                raise ConnectError(Code.PERMISSION_DENIED, f"a container of run `{own}` has no access to `{uri}`")


def _is_plain(uri: str) -> bool:
    """Whether an address means what it says: no part of it leads elsewhere."""
    try:
        check_uri(uri.rstrip("/"))
    except ObjectNameError:
        return False
    return True
