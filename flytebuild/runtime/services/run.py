"""RunService: what the SDK and the `flyte` command on the host call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from flyteidl2.common.run_pb2 import RELATION_TYPE_RECOVER
from flyteidl2.task.task_definition_pb2 import TaskSpec
from flyteidl2.workflow import run_definition_pb2 as definition
from flyteidl2.workflow import run_service_pb2 as pb
from flyteidl2.workflow.run_service_connect import RunService

from flytebuild.runtime.actions import Ledger
from flytebuild.runtime.callers import CALLER, Guest
from flytebuild.runtime.catalogue import Catalogue, TaskKey
from flytebuild.runtime.conditions import Conditions, SignalError
from flytebuild.runtime.container import OrderError, executable
from flytebuild.runtime.model import ROOT, Action, ActionKey, Kind, Run, now
from flytebuild.runtime.names import check_name, new_folder, new_run_name
from flytebuild.runtime.pods import contained
from flytebuild.runtime.services import Context, convert
from flytebuild.runtime.services.actions import HEARTBEAT
from flytebuild.runtime.services.bundle import check_bundle
from flytebuild.runtime.services.inputs import keep
from flytebuild.runtime.services.listing import page
from flytebuild.runtime.services.query import is_in_scope, matches, ordered
from flytebuild.runtime.stores import Store
from flytebuild.runtime.supervisor import Supervisor


class Runs(RunService):  # type: ignore[misc]
    """Creates, shows, watches and aborts runs."""

    def __init__(
        self,
        ledger: Ledger,
        supervisor: Supervisor,
        store: Store,
        catalogue: Catalogue,
        conditions: Conditions,
    ) -> None:
        self._conditions = conditions
        self._ledger = ledger
        self._catalogue = catalogue
        self._supervisor = supervisor
        self._store = store

    async def create_run(self, request: pb.CreateRunRequest, _ctx: Context) -> pb.CreateRunResponse:
        """Start a run of the task that the request carries or names."""
        with convert.refusals():
            spec = self._spec(request)
            if request.run_spec.relation.relation_type == RELATION_TYPE_RECOVER:
                # Silently running all of it again would not be what was asked for.
                self._ledger.run(request.run_spec.relation.related_to.name)
            run = self._new_run(request)
            try:
                executable(spec.task_template)
            except OrderError as error:
                raise ConnectError(Code.INVALID_ARGUMENT, str(error)) from error
            await check_bundle(self._store, spec.task_template)
            if request.HasField("inputs"):
                # SDKs before UploadInputs send them inline.
                input_uri = (await keep(self._store, request.inputs)).uri
            else:
                input_uri = request.offloaded_input_data.uri
                self._store.check(input_uri)
            root = Action(
                key=ActionKey(run.name, ROOT),
                parent=None,
                kind=Kind.TASK,
                input_uri=input_uri,
                output_base=run.base,
                created=run.started,
                task=spec,
            )
            self._ledger.create_run(run, root)
        self._supervisor.submit(root.key)
        return pb.CreateRunResponse(run=self._summary(run))

    def _spec(self, request: pb.CreateRunRequest) -> TaskSpec:
        """The task of a request: the one that it carries, or the deployed one that it names."""
        kind = request.WhichOneof("task")
        if kind == "task_spec":
            return contained(request.task_spec)
        if kind == "task_id":
            return contained(self._catalogue.get(TaskKey.of(request.task_id)).spec)
        raise ConnectError(Code.UNIMPLEMENTED, "the local control plane has no triggers; run the task itself")

    def _new_run(self, request: pb.CreateRunRequest) -> Run:
        if request.HasField("run_id"):
            scope = request.run_id
            name, org, project = check_name(scope.name), scope.org, scope.project
        else:
            scope = request.project_id
            name, org, project = new_run_name(), scope.organization, scope.name
        base = f"{request.run_spec.run_base_dir.rstrip('/') or f'{self._store.base}/runs'}/{new_folder(name)}"
        self._store.check(base)
        return Run(
            name=name,
            # The SDK inside a container insists on an organization.
            org=org or "local",
            project=project,
            domain=scope.domain,
            base=base,
            started=now(),
            spec=request.run_spec,
            started_by=caller.key.run if isinstance(caller := CALLER.get(None), Guest) else "",
        )

    async def get_run_details(self, request: pb.GetRunDetailsRequest, _ctx: Context) -> pb.GetRunDetailsResponse:
        """All of a run and of its first action."""
        with convert.refusals():
            return pb.GetRunDetailsResponse(details=self._run_details(request.run_id.name))

    async def watch_run_details(
        self, request: pb.WatchRunDetailsRequest, _ctx: Context
    ) -> AsyncIterator[pb.WatchRunDetailsResponse]:
        """The same, again at every change of the first action."""
        async for action in self._watch(ActionKey(request.run_id.name, ROOT)):
            yield pb.WatchRunDetailsResponse(details=self._run_details(action.key.run))

    async def get_action_details(
        self, request: pb.GetActionDetailsRequest, _ctx: Context
    ) -> pb.GetActionDetailsResponse:
        """All of an action."""
        with convert.refusals():
            action = self._ledger.action(convert.key_of(request.action_id))
            return pb.GetActionDetailsResponse(details=convert.details(self._ledger.run(action.key.run), action))

    async def watch_action_details(
        self, request: pb.WatchActionDetailsRequest, _ctx: Context
    ) -> AsyncIterator[pb.WatchActionDetailsResponse]:
        """The same, again at every change."""
        async for action in self._watch(convert.key_of(request.action_id)):
            run = self._ledger.run(action.key.run)
            yield pb.WatchActionDetailsResponse(details=convert.details(run, action))

    async def list_runs(self, request: pb.ListRunsRequest, _ctx: Context) -> pb.ListRunsResponse:
        """Runs in the order that is asked for, else the newest first."""
        ledger, query = self._ledger, request.request
        roots = []
        with convert.refusals():
            for run in ledger.runs():
                root = ledger.root(run.name)
                is_inside = is_in_scope(run, root, partial(ledger.actions, run.name), request)
                if is_inside and matches(run, root, query.filters):
                    roots.append(root)
        found, token = page(ordered(roots, query.sort_by) if query.HasField("sort_by") else roots, query)
        return pb.ListRunsResponse(runs=[self._summary(ledger.run(root.key.run)) for root in found], token=token)

    async def list_actions(self, request: pb.ListActionsRequest, _ctx: Context) -> pb.ListActionsResponse:
        """The actions of a run in the order that is asked for, else in that of their creation."""
        query = request.request
        with convert.refusals():
            run = self._ledger.run(request.run_id.name)
            actions = [action for action in self._ledger.actions(run.name) if matches(run, action, query.filters)]
        found, token = page(ordered(actions, query.sort_by) if query.HasField("sort_by") else actions, query)
        return pb.ListActionsResponse(actions=[convert.summary(run, action) for action in found], token=token)

    async def watch_actions(
        self, request: pb.WatchActionsRequest, _ctx: Context
    ) -> AsyncIterator[pb.WatchActionsResponse]:
        """All actions of a run, then those that change, until the run has ended."""
        with convert.refusals():
            run = self._ledger.run(request.run_id.name)
            async for changed in self._ledger.watch(run.name, lambda _: True, HEARTBEAT):
                yield pb.WatchActionsResponse(
                    enriched_actions=[
                        definition.EnrichedAction(
                            action=convert.summary(run, action), meets_filter=matches(run, action, request.filter)
                        )
                        for action in changed
                    ]
                )
                if self._ledger.root(run.name).phase.is_terminal:
                    return

    async def abort_run(self, request: pb.AbortRunRequest, _ctx: Context) -> pb.AbortRunResponse:
        """End a run with all its actions."""
        with convert.refusals():
            self._abort(ActionKey(request.run_id.name, ROOT), request.reason)
        return pb.AbortRunResponse()

    async def abort_action(self, request: pb.AbortActionRequest, _ctx: Context) -> pb.AbortActionResponse:
        """End an action and everything below it."""
        with convert.refusals():
            self._abort(convert.key_of(request.action_id), request.reason)
        return pb.AbortActionResponse()

    async def get_action_data_u_r_is(
        self, request: pb.GetActionDataURIsRequest, _ctx: Context
    ) -> pb.GetActionDataURIsResponse:
        """Where an action's inputs and outputs are."""
        with convert.refusals():
            action = self._ledger.action(convert.key_of(request.action_id))
        return pb.GetActionDataURIsResponse(inputs_uri=action.input_uri, outputs_uri=outputs_file(action))

    async def signal_event(self, request: pb.SignalEventRequest, _ctx: Context) -> pb.SignalEventResponse:
        """Answer a condition."""
        with convert.refusals():
            try:
                self._conditions.signal(convert.key_of(request.action_id), request.payload)
            except SignalError as error:
                raise ConnectError(Code.FAILED_PRECONDITION, str(error)) from error
        return pb.SignalEventResponse()

    def _abort(self, key: ActionKey, reason: str) -> None:
        self._supervisor.abort(self._ledger.action(key).key, reason or "aborted by the user")

    async def _watch(self, key: ActionKey) -> AsyncIterator[Action]:
        """An action now and at every change until it has ended; repeated when nothing happens for a while."""
        with convert.refusals():
            self._ledger.action(key)
            async for _ in self._ledger.watch(key.run, lambda action: action.key == key, HEARTBEAT):
                action = self._ledger.action(key)
                yield action
                if action.phase.is_terminal:
                    return

    def _run_details(self, name: str) -> definition.RunDetails:
        run = self._ledger.run(name)
        return definition.RunDetails(run_spec=run.spec, action=convert.details(run, self._ledger.root(name)))

    def _summary(self, run: Run) -> definition.Run:
        return definition.Run(action=convert.summary(run, self._ledger.root(run.name)))


def outputs_file(action: Action) -> str:
    """The file of an action's outputs; a trace names it itself. Empty before there are any."""
    if not action.outputs or convert.is_trace(action):
        return action.outputs
    return f"{action.outputs}/outputs.pb"
