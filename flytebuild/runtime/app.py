"""The control plane as one ASGI application: Flyte's services, the object store, the pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flyteidl2.actions.actions_service_connect import ActionsServiceASGIApplication
from flyteidl2.cluster.service_connect import ClusterServiceASGIApplication
from flyteidl2.dataproxy.dataproxy_service_connect import DataProxyServiceASGIApplication
from flyteidl2.project.project_service_connect import ProjectServiceASGIApplication
from flyteidl2.secret.secret_connect import SecretServiceASGIApplication
from flyteidl2.task.task_service_connect import TaskServiceASGIApplication
from flyteidl2.workflow.queue_service_connect import QueueServiceASGIApplication
from flyteidl2.workflow.run_service_connect import RunServiceASGIApplication
from flyteidl2.workflow.state_service_connect import StateServiceASGIApplication

from flytebuild.runtime.actions import Ledger
from flytebuild.runtime.admission import Capacity
from flytebuild.runtime.again import Again
from flytebuild.runtime.catalogue import Catalogue
from flytebuild.runtime.conditions import Conditions
from flytebuild.runtime.container import Site
from flytebuild.runtime.credentials import Credentials
from flytebuild.runtime.executor import Executor
from flytebuild.runtime.http import Application, Receive, Scope, Send, text_response
from flytebuild.runtime.journal import FILE_NAME, Database
from flytebuild.runtime.logs import LogBook
from flytebuild.runtime.results import Results
from flytebuild.runtime.s3 import S3
from flytebuild.runtime.secret_book import Handover, SecretBook
from flytebuild.runtime.services.actions import Actions, Children, Queue, State
from flytebuild.runtime.services.cluster import Cluster
from flytebuild.runtime.services.data_proxy import DataProxy
from flytebuild.runtime.services.project import Projects
from flytebuild.runtime.services.run import Runs
from flytebuild.runtime.services.secret import Secrets
from flytebuild.runtime.services.task import Tasks
from flytebuild.runtime.storage import OBJECTS, ObjectStore
from flytebuild.runtime.supervisor import Supervisor
from flytebuild.runtime.transfer import Links, Transfer
from flytebuild.runtime.web.site import Web

MAX_MESSAGE = 128 << 20
"""The largest message of Flyte's protocol that is read; inputs come inside messages."""


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """The parts that a server holds: the application, and what must be closed after it."""

    app: Application
    ledger: Ledger
    supervisor: Supervisor
    conditions: Conditions
    database: Database


def assemble(
    home: Path,
    site: Site,
    credentials: Credentials,
    executor: Executor,
    fingerprint: Mapping[str, object] | None = None,
    capacity: Capacity = Capacity(),  # noqa: B008 - a frozen value
) -> ControlPlane:
    """Put the parts together; `home` is the data folder, `fingerprint` what the process was started with.

    The runs of earlier control planes of the folder are known then; `supervisor.resume` takes them up again.
    """
    store = ObjectStore(home / OBJECTS)
    logs = LogBook(home / "logs")
    links = Links(credentials.link_secret)
    database = Database(home / FILE_NAME)
    ledger = Ledger(database, archive=database)
    ledger.restore(database.runs())
    book = SecretBook()
    catalogue = Catalogue(home / "tasks")
    # Starting a container costs a CPU's time: more at once than there are CPUs only makes each of them later.
    supervisor = Supervisor(
        ledger,
        store,
        logs,
        executor,
        site,
        starts=max(site.cpus, 2),
        capacity=capacity,
        results=Results(database, store),
        secrets=book.find,
    )
    conditions = Conditions(ledger)
    children = Children(ledger, supervisor, conditions)
    limit = MAX_MESSAGE
    services = [
        ClusterServiceASGIApplication(Cluster(), read_max_bytes=limit),
        DataProxyServiceASGIApplication(DataProxy(ledger, store, logs, links), read_max_bytes=limit),
        RunServiceASGIApplication(Runs(ledger, supervisor, store, catalogue, conditions), read_max_bytes=limit),
        TaskServiceASGIApplication(Tasks(catalogue, store), read_max_bytes=limit),
        ActionsServiceASGIApplication(Actions(children), read_max_bytes=limit),
        QueueServiceASGIApplication(Queue(children), read_max_bytes=limit),
        StateServiceASGIApplication(State(children), read_max_bytes=limit),
        SecretServiceASGIApplication(Secrets(book), read_max_bytes=limit),
        ProjectServiceASGIApplication(Projects(ledger, catalogue), read_max_bytes=limit),
    ]
    web = Web(ledger, store, logs, port=site.port, home=home, fingerprint=fingerprint or {})
    routes: dict[str, Application] = {
        **{service.path.strip("/"): service for service in services},
        "s3": S3(store, credentials.key_id),
        "objects": Transfer(store, links),
        "secrets": Handover(book, credentials.owner_token),
        "again": Again(ledger, store, links, site, book.find, credentials.owner_token),
    }
    return ControlPlane(Dispatcher(routes, web), ledger, supervisor, conditions, database)


class Dispatcher:
    """Chooses the application by the first part of the path.

    A request must name this machine as its host: otherwise a web page could point a name of its own at the
    loopback address and speak to us through the user's browser.
    """

    def __init__(self, routes: dict[str, Application], fallback: Application) -> None:
        self._routes = routes
        self._fallback = fallback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").rpartition(":")[0]
        if not is_local_host(host):
            await text_response("this control plane is reached by a local address only\n", 421).send(send)
            return
        length = headers.get(b"content-length", b"0")
        first = scope["path"].split("/", 2)[1] if "/" in scope["path"] else ""
        if first.startswith("flyteidl2.") and length.isdigit() and int(length) > MAX_MESSAGE:
            await text_response("the message is too large\n", 413).send(send)
            return
        if first.startswith("flyteidl2.") and first not in self._routes:
            # The protocol's word for a service that is not there.
            await text_response("this service is not implemented\n", 404).send(send)
            return
        await self._routes.get(first, self._fallback)(scope, receive, send)


def is_local_host(host: str) -> bool:
    """Whether a host is a literal address or a name that only this machine and its containers use."""
    is_literal = host.startswith("[") or all(part.isdigit() for part in host.split("."))
    return is_literal or host in ("localhost", "host.docker.internal")
