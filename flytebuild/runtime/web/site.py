"""The routes of the pages and of their JSON twin."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from flytebuild.runtime.actions import Ledger, UnknownError
from flytebuild.runtime.http import Receive, Request, Response, Scope, Send, json_response, text_response
from flytebuild.runtime.logs import LogBook
from flytebuild.runtime.model import Action, ActionKey, Run
from flytebuild.runtime.services.run import outputs_file
from flytebuild.runtime.storage import ObjectNameError, ObjectStore
from flytebuild.runtime.web import documents, pages
from flytebuild.runtime.web.literals import named

TAIL_LINES = 200
_MAX_SHOWN = 1 << 20
"""Inputs and outputs above this size are not decoded for a page."""


class Web:
    """An ASGI application that only reads."""

    def __init__(
        self,
        ledger: Ledger,
        store: ObjectStore,
        logs: LogBook,
        *,
        port: int,
        home: Path,
        fingerprint: Mapping[str, object],
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._logs = logs
        self._port = port
        self._home = home
        self._fingerprint = fingerprint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except UnknownError as error:
            response = text_response(f"{error.args[0]}\n", 404)
        await response.send(send)

    async def _answer(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return text_response("this page only reads\n", 405)
        parts = [unquote(part) for part in request.path.strip("/").split("/")]
        match parts:
            case ["healthz"]:
                return json_response(self._health())
            case [""] | ["v2", "runs"]:
                return self._home_page()
            case ["v2", "domain", domain, "project", project, "runs", name]:
                run = self._ledger.run(name)
                if (run.domain, run.project) != (domain, project):
                    raise UnknownError(f"there is no run `{name}` in `{project}`, `{domain}`")
                return await self._run_page(run)
            case ["api", "runs"]:
                return json_response(documents.runs_document(self._ledger, self._port))
            case ["api", "runs", name]:
                run = self._ledger.run(name)
                outputs = await self._outputs(self._ledger.root(name))
                return json_response(documents.run_document(self._ledger, run, self._port, outputs))
            case ["api", "runs", name, "actions", action, "logs"]:
                return self._log(ActionKey(name, action), request.query.get("attempt", "0"))
        return text_response("there is no such page\n", 404)

    def _health(self) -> dict[str, object]:
        return {
            "schema": "flytebuild.health/1",
            "pid": os.getpid(),
            "home": str(self._home),
            "runs_in_progress": sum(not self._ledger.root(run.name).phase.is_terminal for run in self._ledger.runs()),
            "fingerprint": dict(self._fingerprint),
        }

    def _home_page(self) -> Response:
        rows = [(run, self._ledger.root(run.name)) for run in self._ledger.runs()]
        return pages.respond(pages.runs_page(rows))

    async def _run_page(self, run: Run) -> Response:
        views = [
            pages.View(
                action=action,
                inputs=await self._inputs(action),
                outputs=await self._outputs(action),
                log=self._logs.tail(action.key, len(action.attempts), TAIL_LINES) if action.attempts else ([], False),
            )
            for action in self._ledger.actions(run.name)
        ]
        return pages.respond(pages.run_page(run, self._ledger.root(run.name), views))

    def _log(self, key: ActionKey, attempt: str) -> Response:
        count = len(self._ledger.action(key).attempts)
        number = int(attempt) if attempt.isdigit() else 0
        if number > count:
            raise UnknownError(f"action `{key.name}` has no attempt {number}")
        return text_response(self._logs.text(key, number or count))

    async def _inputs(self, action: Action) -> dict[str, object] | None:
        from flyteidl2.task.common_pb2 import Inputs

        content = await self._small(action.input_uri)
        return None if content is None else named(Inputs.FromString(content).literals)

    async def _outputs(self, action: Action) -> dict[str, object] | None:
        from flyteidl2.task.common_pb2 import Outputs

        uri = outputs_file(action)
        if not uri:
            return None
        return named(Outputs.FromString(await self._small(uri) or b"").literals)

    async def _small(self, uri: str) -> bytes | None:
        """An object that is small enough to be shown."""
        try:
            path = self._store.path_of(uri)
        except ObjectNameError:
            return None
        return await self._store.read(uri) if path.is_file() and path.stat().st_size <= _MAX_SHOWN else None
