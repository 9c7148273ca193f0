"""RunService: what the SDK and the `flyte` command on the host call."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from flyteidl2.common.list_pb2 import ListRequest, Sort
from flyteidl2.workflow import run_definition_pb2 as definition
from flyteidl2.workflow import run_service_pb2 as pb
from flyteidl2.workflow.run_service_connect import RunService

from flytebuild.runtime.actions import Ledger
from flytebuild.runtime.container import OrderError, executable
from flytebuild.runtime.model import ROOT, Action, ActionKey, Kind, Run, now
from flytebuild.runtime.names import check_name, new_folder, new_run_name
from flytebuild.runtime.services import Context, convert
from flytebuild.runtime.services.actions import HEARTBEAT
from flytebuild.runtime.storage import BUCKET, ObjectStore
from flytebuild.runtime.supervisor import Supervisor

T = TypeVar("T")
_BUNDLE_FLAGS = ("--tgz", "--pkl")


class Runs(RunService):  # type: ignore[misc]
    """Creates, shows, watches and aborts runs."""

    def __init__(self, ledger: Ledger, supervisor: Supervisor, store: ObjectStore) -> None:
        self._ledger = ledger
        self._supervisor = supervisor
        self._store = store

    async def create_run(self, request: pb.CreateRunRequest, _ctx: Context) -> pb.CreateRunResponse:
        """Start a run of the task that the request carries."""
        with convert.refusals():
            if not request.HasField("task_spec"):
                raise ConnectError(Code.NOT_FOUND, "deployed tasks and triggers are not known locally yet")
            run = self._new_run(request)
            try:
                executable(request.task_spec.task_template)
            except OrderError as error:
                raise ConnectError(Code.INVALID_ARGUMENT, str(error)) from error
            self._check_bundle(list(request.task_spec.task_template.container.args))
            if request.HasField("inputs"):
                # SDKs before UploadInputs send them inline.
                input_uri = f"{run.base}/{ROOT}/inputs.pb"
                await self._store.write(input_uri, request.inputs.SerializeToString(deterministic=True))
            else:
                input_uri = request.offloaded_input_data.uri
                self._store.path_of(input_uri)
            root = Action(
                key=ActionKey(run.name, ROOT),
                parent=None,
                kind=Kind.TASK,
                input_uri=input_uri,
                output_base=run.base,
                created=run.started,
                task=request.task_spec,
            )
            self._ledger.create_run(run, root)
        self._supervisor.submit(root.key)
        return pb.CreateRunResponse(run=self._summary(run))

    def _new_run(self, request: pb.CreateRunRequest) -> Run:
        if request.HasField("run_id"):
            scope = request.run_id
            name, org, project = check_name(scope.name), scope.org, scope.project
        else:
            scope = request.project_id
            name, org, project = new_run_name(), scope.organization, scope.name
        base = f"{request.run_spec.run_base_dir.rstrip('/') or f's3://{BUCKET}/runs'}/{new_folder(name)}"
        self._store.path_of(base)
        return Run(
            name=name,
            # The SDK inside a container insists on an organization.
            org=org or "local",
            project=project,
            domain=scope.domain,
            base=base,
            started=now(),
            spec=request.run_spec,
        )

    def _check_bundle(self, arguments: list[str]) -> None:
        """Refuse a run whose code is gone before its containers find out one by one."""
        for flag, uri in itertools.pairwise(arguments):
            if flag in _BUNDLE_FLAGS and uri.startswith(f"s3://{BUCKET}/") and not self._store.has(uri):
                raise ConnectError(
                    Code.FAILED_PRECONDITION,
                    f"the code bundle `{uri}` is not in this control plane's store, while the SDK remembers to have "
                    "uploaded it; run once more with `flyte.with_runcontext(disable_run_cache=True)`, or remove the "
                    "folder `local-cache` next to Flyte's configuration file",
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
        """Runs, the newest first."""
        project = request.project_id
        runs = [
            run
            for run in self._ledger.runs()
            if not project.name or (run.project, run.domain) == (project.name, project.domain)
            if convert.matches(self._ledger.root(run.name), request.request.filters)
        ]
        page, token = _page(runs, request.request)
        return pb.ListRunsResponse(runs=[self._summary(run) for run in page], token=token)

    async def list_actions(self, request: pb.ListActionsRequest, _ctx: Context) -> pb.ListActionsResponse:
        """The actions of a run in the order of their creation."""
        with convert.refusals():
            run = self._ledger.run(request.run_id.name)
            actions = [a for a in self._ledger.actions(run.name) if convert.matches(a, request.request.filters)]
        if request.request.HasField("sort_by") and request.request.sort_by.direction == Sort.DESCENDING:
            actions.reverse()
        page, token = _page(actions, request.request)
        return pb.ListActionsResponse(actions=[convert.summary(run, action) for action in page], token=token)

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
                            action=convert.summary(run, action), meets_filter=convert.matches(action, request.filter)
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


def _page(items: Sequence[T], request: ListRequest) -> tuple[Sequence[T], str]:
    """One page of a listing and the token of the next; a token is the number of items before it."""
    try:
        start = int(request.token or 0)
    except ValueError:
        raise ConnectError(Code.INVALID_ARGUMENT, f"`{request.token}` is not a page token") from None
    end = start + (request.limit or 100)
    return items[start:end], str(end) if end < len(items) else ""
