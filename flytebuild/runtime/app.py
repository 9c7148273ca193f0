"""The control plane as one ASGI application: Flyte's services, the object store, the pages."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyteidl2.actions.actions_service_connect import ActionsServiceASGIApplication
from flyteidl2.cluster.service_connect import ClusterServiceASGIApplication
from flyteidl2.dataproxy.dataproxy_service_connect import DataProxyServiceASGIApplication
from flyteidl2.project.project_service_connect import ProjectServiceASGIApplication
from flyteidl2.secret.secret_connect import SecretServiceASGIApplication
from flyteidl2.task.task_service_connect import TaskServiceASGIApplication
from flyteidl2.workflow.queue_service_connect import QueueServiceASGIApplication
from flyteidl2.workflow.run_service_connect import RunServiceASGIApplication
from flyteidl2.workflow.state_service_connect import StateServiceASGIApplication

from flytebuild import folders
from flytebuild.runtime.actions import Ledger
from flytebuild.runtime.admission import Capacity
from flytebuild.runtime.again import Again, Prepare, prepare_nothing
from flytebuild.runtime.bounds import BoundedGzip
from flytebuild.runtime.callers import Door
from flytebuild.runtime.catalogue import Catalogue
from flytebuild.runtime.conditions import Conditions
from flytebuild.runtime.container import Site
from flytebuild.runtime.credentials import Credentials
from flytebuild.runtime.dispatcher import MAX_MESSAGE, Dispatcher
from flytebuild.runtime.executor import Executor
from flytebuild.runtime.home import OBJECTS
from flytebuild.runtime.http import Application
from flytebuild.runtime.journal import FILE_NAME, Database
from flytebuild.runtime.logs import LogBook
from flytebuild.runtime.raw_container import RawContainers
from flytebuild.runtime.reach import Everything, Reach
from flytebuild.runtime.results import Results
from flytebuild.runtime.s3 import S3, Key
from flytebuild.runtime.secret_book import Handover, SecretBook
from flytebuild.runtime.services.actions import Actions, Children, Queue, State
from flytebuild.runtime.services.cluster import Cluster
from flytebuild.runtime.services.data_proxy import DataProxy
from flytebuild.runtime.services.guard import Guard
from flytebuild.runtime.services.project import Projects
from flytebuild.runtime.services.run import Runs
from flytebuild.runtime.services.secret import Secrets
from flytebuild.runtime.services.task import Tasks
from flytebuild.runtime.storage import ObjectStore
from flytebuild.runtime.stores import Store
from flytebuild.runtime.supervisor import Supervisor
from flytebuild.runtime.transfer import Links, Transfer
from flytebuild.runtime.warm.calls import RECENT, Call, earlier
from flytebuild.runtime.web.drawing import Labels, no_labels
from flytebuild.runtime.web.site import Web


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """The parts that a server holds: the application, and what must be closed after it."""

    app: Application
    ledger: Ledger
    supervisor: Supervisor
    conditions: Conditions
    database: Database
    store: ObjectStore
    web: Web
    catalogue: Catalogue
    earlier_calls: Callable[[], Iterable[Call]]


def assemble(
    home: Path,
    site: Site,
    credentials: Credentials,
    executor: Executor,
    fingerprint: Mapping[str, object] | None = None,
    capacity: Capacity = Capacity(),  # noqa: B008 - a frozen value
    silence: float = 0,
    store: Store | None = None,
    labels: Labels = no_labels,
    prepare: Prepare = prepare_nothing,
) -> ControlPlane:
    """Put the parts together; `home` is the data folder, `fingerprint` what the process was started with.

    `silence` is how many seconds a container may run without a request; 0 is no bound. `store` is where objects are, if
    not in the folder. `labels` tells those of an image that ran. `prepare` is for containers that others start.

    The runs of earlier control planes of the folder are known then; `supervisor.resume` takes them up again.
    """
    embedded = ObjectStore(home / OBJECTS)
    store = store or embedded
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
        starts=2 * max(site.cpus, 1),
        capacity=capacity,
        results=Results(database, store),
        secrets=book.find,
        silence=silence,
    )
    conditions = Conditions(ledger)
    children = Children(ledger, supervisor, conditions)
    reach = Reach(ledger, store)
    door = Door(ledger, site.passes, supervisor.heard)
    # What reads messages, and who may send them, is the same for all services.
    rules: Mapping[str, Any] = {
        "interceptors": (Guard(reach),),
        "read_max_bytes": MAX_MESSAGE,
        "compressions": (BoundedGzip(MAX_MESSAGE),),
    }
    services = [
        ClusterServiceASGIApplication(Cluster(), **rules),
        DataProxyServiceASGIApplication(DataProxy(ledger, store, logs, links), **rules),
        RunServiceASGIApplication(Runs(ledger, supervisor, store, catalogue, conditions), **rules),
        TaskServiceASGIApplication(Tasks(catalogue, store), **rules),
        ActionsServiceASGIApplication(Actions(children), **rules),
        QueueServiceASGIApplication(Queue(children), **rules),
        StateServiceASGIApplication(State(children), **rules),
        SecretServiceASGIApplication(Secrets(book), **rules),
        ProjectServiceASGIApplication(Projects(ledger, catalogue), **rules),
    ]

    def key(key_id: str) -> Key | None:
        if hmac.compare_digest(key_id.encode(), credentials.key_id.encode()):
            return Key(credentials.key_secret, Everything)
        if (found := door.by_key(key_id)) is None:
            return None
        bearer, secret = found
        return Key(secret, lambda: reach.of(door.enter(bearer).key.run))

    web = Web(
        ledger,
        store,
        logs,
        port=site.port,
        home=home,
        fingerprint=fingerprint or {},
        state=folders.state_file(),
        labels=labels,
    )
    dispatcher = Dispatcher(
        {service.path.strip("/"): service for service in services},
        {"s3": S3(embedded, key), "objects": Transfer(store, links)},
        {
            "secrets": Handover(book, credentials.owner_token),
            "again": Again(
                ledger, store, links, RawContainers(store, reach.of), site, book.find, credentials.owner_token, prepare
            ),
        },
        web,
        door,
    )

    def earlier_calls() -> Iterable[Call]:
        return earlier(database.newest(RECENT), ledger.run, site, book.find)

    return ControlPlane(dispatcher, ledger, supervisor, conditions, database, embedded, web, catalogue, earlier_calls)
