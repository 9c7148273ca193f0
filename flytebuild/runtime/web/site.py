"""The routes of the pages and of their JSON twin."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from flytebuild.drawing.html import stylesheet
from flytebuild.plan import ImagePlan
from flytebuild.runtime.actions import Ledger
from flytebuild.runtime.http import Receive, Request, Response, Scope, Send, json_response, text_response
from flytebuild.runtime.logs import LogBook
from flytebuild.runtime.model import Action, ActionKey, Run
from flytebuild.runtime.records import UnknownError
from flytebuild.runtime.services.run import outputs_file
from flytebuild.runtime.storage import ObjectNameError
from flytebuild.runtime.stores import Store
from flytebuild.runtime.web import documents, pages
from flytebuild.runtime.web.builds import build_body, builds_list
from flytebuild.runtime.web.drawing import Labels, environments_page, images_of, no_labels, remembered
from flytebuild.runtime.web.events import RunList, changes
from flytebuild.runtime.web.values import Values, read
from flytebuild.state import BuildRecord, State

_UNCACHED = (("cache-control", "no-store"),)
_APART = "sandbox allow-scripts allow-popups; connect-src 'none'; form-action 'none'"
"""The policy of reports: their scripts run as those of a stranger's page, and talk to nobody."""

TAIL_LINES = 200
_ON_A_PAGE = 64 << 10
_IN_A_DOCUMENT = 1 << 20
"""Inputs and outputs of one action above these sizes, in bytes, are not shown; a page has many actions."""


class Web:
    """An ASGI application that only reads."""

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        logs: LogBook,
        *,
        port: int,
        home: Path,
        fingerprint: Mapping[str, object],
        state: Path,
        labels: Labels = no_labels,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._logs = logs
        self._port = port
        self._home = home
        self._fingerprint = fingerprint
        self._labels = remembered(labels)
        self._state = state
        self._list = RunList(ledger)

    def close(self) -> None:
        """End the streams of those who look at the list of runs."""
        self._list.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except UnknownError as error:
            response = _missing(request, str(error.args[0]))
        if response.pieces is None:
            await response.send(send)
            return
        # Events go on for as long as somebody listens.
        ends = [asyncio.create_task(response.send(send)), asyncio.create_task(request.gone())]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in ends:
                task.cancel()
            await asyncio.gather(*ends, return_exceptions=True)

    async def _answer(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return text_response("this page only reads\n", 405)
        match request.path.strip("/").split("/"):
            case ["healthz"]:
                return json_response(self._health())
            case [""] | ["v2", "runs"]:
                return pages.respond(pages.runs_page(self._runs()))
            case ["v2", "domain", domain, "project", project, "runs", name]:
                return await self._run_page(self._run_in(domain, project, name))
            case ["v2", "domain", domain, "project", project, "runs", name, "environments"]:
                run = self._run_in(domain, project, name)
                back = documents.path(run)
                page = await environments_page(run, self._ledger.actions(name), self._labels, back)
                return pages.respond(page, style=stylesheet())
            case ["builds"]:
                records = await asyncio.to_thread(self._builds)
                return pages.respond(pages.still_page("Builds", builds_list(records)))
            case ["builds", identifier]:
                records = await asyncio.to_thread(self._builds)
                record = next((item for item in records if item.identifier == identifier), None)
                if record is None:
                    raise UnknownError(f"there is no build `{identifier}`")
                return pages.respond(pages.still_page("Build", build_body(record)))
            case ["api", "runs"]:
                return json_response(documents.runs_document(self._runs(), self._port))
            case ["api", "events"]:
                return Response(200, content_type="text/event-stream", headers=_UNCACHED, pieces=self._list.changes())
            case ["api", "runs", name]:
                run = self._ledger.run(name)
                outputs = await self._outputs(self._ledger.root(name), _IN_A_DOCUMENT)
                return json_response(documents.run_document(self._ledger, run, self._port, outputs))
            case ["api", "runs", name, "events"]:
                stream = changes(self._ledger, self._logs, self._ledger.run(name).name)
                return Response(200, content_type="text/event-stream", headers=_UNCACHED, pieces=stream)
            case ["api", "runs", name, "actions", action, "logs"]:
                return self._log(ActionKey(name, action), request.query.get("attempt", "0"))
            case ["api", "runs", name, "actions", action, "report"]:
                return await self._report(self._ledger.action(ActionKey(name, action)))
        return _missing(request, "there is no such page")

    def _builds(self) -> tuple[BuildRecord, ...]:
        with State.open(self._state) as state:
            return state.builds()

    def _run_in(self, domain: str, project: str, name: str) -> Run:
        run = self._ledger.run(name)
        if (run.domain, run.project) != (domain, project):
            raise UnknownError(f"there is no run `{name}` in project `{project}`, domain `{domain}`")
        return run

    def _health(self) -> dict[str, object]:
        return {
            "schema": "flytebuild.health/1",
            "pid": os.getpid(),
            "home": str(self._home),
            "runs_in_progress": sum(not self._ledger.root(run.name).phase.is_terminal for run in self._ledger.runs()),
            "fingerprint": dict(self._fingerprint),
        }

    def _runs(self) -> list[tuple[Run, Action]]:
        """All runs with their first actions, the newest first."""
        return [(run, self._ledger.root(run.name)) for run in self._ledger.runs()]

    async def _run_page(self, run: Run) -> Response:
        # At the same time: a store of the user's own may be far away.
        actions = self._ledger.actions(run.name)
        images = await images_of(actions, self._labels)
        views = await asyncio.gather(*(self._view(action, images) for action in actions))
        return pages.respond(pages.run_page(run, self._ledger.root(run.name), views))

    async def _view(self, action: Action, images: Mapping[str, ImagePlan]) -> pages.View:
        return pages.View(
            action=action,
            inputs=await self._inputs(action, _ON_A_PAGE),
            outputs=await self._outputs(action, _ON_A_PAGE),
            log=self._logs.tail(action.key, len(action.attempts), TAIL_LINES) if action.attempts else ([], False),
            has_report=await self._has(_report_of(action)),
            image=images.get(action.last.image) if action.last else None,
        )

    def _log(self, key: ActionKey, attempt: str) -> Response:
        count = len(self._ledger.action(key).attempts)
        number = int(attempt) if attempt.isdigit() else 0
        if number > count:
            raise UnknownError(f"action `{key.name}` has no attempt {number}")
        return Response(200, pieces=self._logs.text(key, number or count))

    async def _report(self, action: Action) -> Response:
        """What a task wrote as its report: a page of the user's own, which gets nothing of ours."""
        uri = _report_of(action)
        content = await self._store.read(uri) if await self._has(uri) else None
        if content is None:
            raise UnknownError(f"action `{action.key.name}` has no report")
        return Response(200, content, "text/html; charset=utf-8", (*_UNCACHED, ("content-security-policy", _APART)))

    async def _inputs(self, action: Action, limit: int) -> Values:
        from flyteidl2.task.common_pb2 import Inputs

        return await read(self._store, action.input_uri, Inputs, limit)

    async def _outputs(self, action: Action, limit: int) -> Values:
        from flyteidl2.task.common_pb2 import Outputs

        values = await read(self._store, outputs_file(action), Outputs, limit)
        # A task without outputs need not write any.
        has_none = action.task is not None and not action.task.task_template.interface.outputs.variables
        return Values({}) if has_none and action.outputs and not await self._has(outputs_file(action)) else values

    async def _has(self, uri: str) -> bool:
        try:
            return await self._store.size(uri) is not None
        except (ObjectNameError, OSError):
            return False


def _report_of(action: Action) -> str:
    """Where the SDK writes an action's report; empty before there is an attempt."""
    return f"{action.last.outputs}/report.html" if action.last else ""


def _missing(request: Request, sentence: str) -> Response:
    """404: as a page where a browser looks for one, as text for everything else."""
    if request.path.startswith("/api/"):
        return text_response(f"{sentence}\n", 404)
    return pages.respond(pages.missing_page(sentence), 404)
