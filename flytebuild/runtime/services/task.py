"""TaskService: tasks that `flyte deploy` deploys, to be run by their name and version."""

from __future__ import annotations

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from flyteidl2.common.list_pb2 import ListRequest, Sort
from flyteidl2.task import task_definition_pb2 as definition
from flyteidl2.task import task_service_pb2 as pb
from flyteidl2.task.task_service_connect import TaskService

from flytebuild.runtime.catalogue import Catalogue, TaskKey
from flytebuild.runtime.model import now
from flytebuild.runtime.pods import contained
from flytebuild.runtime.services import Context
from flytebuild.runtime.services.bundle import check_bundle
from flytebuild.runtime.services.convert import refusals, timestamp
from flytebuild.runtime.services.listing import is_among, page
from flytebuild.runtime.stores import Store


class Tasks(TaskService):  # type: ignore[misc]
    """Keeps, finds and lists deployed tasks."""

    def __init__(self, catalogue: Catalogue, store: Store) -> None:
        self._catalogue = catalogue
        self._store = store

    async def deploy_task(self, request: pb.DeployTaskRequest, _ctx: Context) -> pb.DeployTaskResponse:
        """Keep a version of a task."""
        name, version = request.task_id.name, request.task_id.version
        if not name or not version:
            raise ConnectError(Code.INVALID_ARGUMENT, "a task is deployed under a name and a version")
        if request.triggers:
            names = ", ".join(f"`{trigger.name}`" for trigger in request.triggers)
            raise ConnectError(
                Code.UNIMPLEMENTED,
                f"task `{name}` has triggers ({names}), which the local control plane does not fire; "
                "take them off to deploy it here",
            )
        with refusals():
            await check_bundle(self._store, contained(request.spec).task_template)
            self._catalogue.add(
                definition.TaskDetails(
                    task_id=request.task_id,
                    metadata=definition.TaskMetadata(
                        short_name=request.spec.short_name,
                        deployed_at=timestamp(now()),
                        environment_name=request.spec.environment.name,
                        short_description=request.spec.documentation.short_description,
                    ),
                    spec=request.spec,
                )
            )
        return pb.DeployTaskResponse()

    async def get_task_details(self, request: pb.GetTaskDetailsRequest, _ctx: Context) -> pb.GetTaskDetailsResponse:
        """All of a version of a task."""
        with refusals():
            return pb.GetTaskDetailsResponse(details=self._catalogue.get(TaskKey.of(request.task_id)))

    async def list_tasks(self, request: pb.ListTasksRequest, _ctx: Context) -> pb.ListTasksResponse:
        """Deployed tasks, every version of them."""
        project = request.project_id
        tasks = [
            task
            for task in self._catalogue
            if not project.name or (task.task_id.project, task.task_id.domain) == (project.name, project.domain)
            if all(_passes(task, item) for item in request.known_filters)
        ]
        total = len(tasks)
        tasks = _ordered(tasks, request.request)
        found, token = page(tasks, request.request)
        return pb.ListTasksResponse(
            tasks=[definition.Task(task_id=task.task_id, metadata=task.metadata) for task in found],
            token=token,
            metadata=pb.ListTasksResponse.ListTasksMetadata(total=total, filtered_total=len(tasks)),
        )

    async def list_versions(self, request: pb.ListVersionsRequest, _ctx: Context) -> pb.ListVersionsResponse:
        """The versions of one task."""
        wanted = request.task_name
        tasks = [
            task
            for task in self._catalogue
            if (task.task_id.project, task.task_id.domain, task.task_id.name)
            == (wanted.project, wanted.domain, wanted.name)
        ]
        found, token = page(_ordered(tasks, request.request), request.request)
        versions = [
            pb.ListVersionsResponse.VersionResponse(version=task.task_id.version, deployed_at=task.metadata.deployed_at)
            for task in found
        ]
        return pb.ListVersionsResponse(versions=versions, token=token)


def _passes(task: definition.TaskDetails, item: pb.ListTasksRequest.KnownFilter) -> bool:
    if item.WhichOneof("filter_by") != "is_entrypoint":
        raise ConnectError(Code.INVALID_ARGUMENT, "tasks cannot be listed by who deployed them: nobody is known here")
    return bool(task.spec.task_template.metadata.is_entrypoint) == bool(item.is_entrypoint)


def _ordered(tasks: list[definition.TaskDetails], request: ListRequest) -> list[definition.TaskDetails]:
    """The tasks that pass the filters in the order that is asked for: by deployment, or by name."""
    found = [task for task in tasks if all(is_among(_values(task, item.field), item) for item in request.filters)]
    key = request.sort_by.key or "created_at"
    if key == "name":
        found.sort(key=lambda task: str(task.task_id.name))
    elif key not in ("created_at", "deployed_at"):
        raise ConnectError(Code.INVALID_ARGUMENT, f"tasks cannot be sorted by `{key}`")
    if request.HasField("sort_by") and request.sort_by.direction == Sort.DESCENDING:
        found.reverse()
    return found


def _values(task: definition.TaskDetails, field: str) -> set[str]:
    fields = {
        "name": task.task_id.name,
        "version": task.task_id.version,
        "short_name": task.metadata.short_name,
        "environment_name": task.metadata.environment_name,
    }
    if field not in fields:
        raise ConnectError(Code.INVALID_ARGUMENT, f"there is no filter on `{field}`")
    return {str(fields[field])}
