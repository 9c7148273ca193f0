"""ProjectService: the projects that runs here belong to. They are names; whoever uses one need not create it."""

from __future__ import annotations

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from flyteidl2.project import project_service_pb2 as pb
from flyteidl2.project.project_service_connect import ProjectService

from flytebuild.runtime import flyte_config
from flytebuild.runtime.actions import Ledger
from flytebuild.runtime.catalogue import Catalogue
from flytebuild.runtime.services import Context

_ARCHIVED = f"eq(state, {pb.PROJECT_STATE_ARCHIVED})"
"""The filter that the SDK makes for archived projects; it lists no others then."""


class Projects(ProjectService):  # type: ignore[misc]
    """Lists the project of our configuration, and those that runs and deployed tasks name."""

    def __init__(self, ledger: Ledger, catalogue: Catalogue) -> None:
        self._ledger = ledger
        self._catalogue = catalogue

    async def list_projects(self, request: pb.ListProjectsRequest, _ctx: Context) -> pb.ListProjectsResponse:
        """All projects with their domains; none is ever archived."""
        projects = [] if _ARCHIVED in request.filters else self._projects()
        return pb.ListProjectsResponse(projects=pb.Projects(projects=projects))

    async def get_project(self, request: pb.GetProjectRequest, _ctx: Context) -> pb.GetProjectResponse:
        """One project."""
        for project in self._projects():
            if project.id == request.id:
                return pb.GetProjectResponse(project=project)
        raise ConnectError(Code.NOT_FOUND, f"nothing here belongs to a project `{request.id}`")

    async def create_project(self, _request: pb.CreateProjectRequest, _ctx: Context) -> pb.CreateProjectResponse:
        """There is nothing to create."""
        raise ConnectError(
            Code.UNIMPLEMENTED, "projects need not be created on this machine: a run may name any, and it is there"
        )

    def _projects(self) -> list[pb.Project]:
        domains: dict[str, dict[str, None]] = {flyte_config.PROJECT: {flyte_config.DOMAIN: None}}
        used = [(run.project, run.domain) for run in self._ledger.runs()]
        used += [(task.task_id.project, task.task_id.domain) for task in self._catalogue]
        for project, domain in sorted(set(used)):
            domains.setdefault(project, {})[domain] = None
        return [
            pb.Project(
                id=project,
                name=project,
                domains=[pb.Domain(id=domain, name=domain) for domain in found],
                state=pb.PROJECT_STATE_ACTIVE,
            )
            for project, found in domains.items()
        ]
