"""Runs as JSON documents: for `flytebuild run`, for tests, for whoever wants to script."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from urllib.parse import quote

from flytebuild.runtime.actions import Ledger
from flytebuild.runtime.addresses import LOOPBACK
from flytebuild.runtime.model import Action, Attempt, Failure, Run
from flytebuild.runtime.web.values import Values


def url(run: Run, port: int) -> str:
    """A run's page: the address that the SDK makes up for it as well."""
    return f"http://{LOOPBACK}:{port}{path(run)}"


def path(run: Run) -> str:
    """The path of a run's page."""
    return f"/v2/domain/{quote(run.domain)}/project/{quote(run.project)}/runs/{quote(run.name)}"


def run_document(ledger: Ledger, run: Run, port: int, outputs: Values) -> dict[str, object]:
    """`flytebuild.run/1`: a run with its actions; times are ISO 8601.

    Of a run that succeeded, `outputs` has what it returned, or `outputs_problem` says why that is not shown.
    """
    document: dict[str, object] = {
        "schema": "flytebuild.run/1",
        "run": run.name,
        "project": run.project,
        "domain": run.domain,
        "phase": ledger.root(run.name).phase.name,
        "url": url(run, port),
        "actions": [action_document(action) for action in ledger.actions(run.name)],
    }
    if outputs.items is not None:
        document["outputs"] = outputs.items
    if outputs.problem is not None:
        document["outputs_problem"] = outputs.problem
    return document


def runs_document(runs: Iterable[tuple[Run, Action]], port: int) -> dict[str, object]:
    """`flytebuild.runs/1`: runs, each with its first action, in the order in which they are given."""
    rows = [
        {
            "run": run.name,
            "task": root.task_name,
            "phase": root.phase.name,
            "url": url(run, port),
            "started": _instant(run.started),
            "ended": _instant(root.ended),
        }
        for run, root in runs
    ]
    return {"schema": "flytebuild.runs/1", "runs": rows}


def action_document(action: Action) -> dict[str, object]:
    """One action: the facts of its newest attempt, and what became of each."""
    last = action.last
    document: dict[str, object] = {
        "name": action.key.name,
        "parent": action.parent,
        "kind": action.kind.name.lower(),
        "task": action.task_name,
        "environment": action.environment,
        "group": action.group,
        "phase": action.phase.name,
        "image": last.image if last else None,
        "image_id": last.image_id if last else None,
        "container": last.container if last else None,
        "waiting_for": last.waiting_for if last else "",
        "started": _instant(last.started if last else action.created),
        "ended": _instant(action.ended),
        "attempt": len(action.attempts),
        "exit_code": last.exit_code if last else None,
        "cache": action.cache.name.lower(),
        "cached_from": action.cached_from or None,
        "attempts": [_attempt(attempt) for attempt in action.attempts],
    }
    failure = action.failure or (last.failure if last and not action.phase.is_terminal else None)
    if failure:
        document["error"] = _failure(failure)
    elif action.abort_reason:
        document["error"] = {"code": "Aborted", "message": action.abort_reason, "kind": "user"}
    return document


def _attempt(attempt: Attempt) -> dict[str, object]:
    document: dict[str, object] = {
        "number": attempt.number,
        "phase": attempt.phase.name,
        "container": attempt.container,
        "pulled": _instant(attempt.pulled),
        "begun": _instant(attempt.begun),
        "started": _instant(attempt.started),
        "heard": _instant(attempt.heard),
        "ended": _instant(attempt.ended),
        "exit_code": attempt.exit_code,
    }
    return document | ({"error": _failure(attempt.failure)} if attempt.failure else {})


def _failure(failure: Failure) -> dict[str, object]:
    kind = "system" if failure.is_system else "user"
    return {"code": failure.code, "message": failure.message, "kind": kind}


def _instant(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
