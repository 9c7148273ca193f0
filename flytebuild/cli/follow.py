"""Following a run to its end: which task runs where, what it returns, why it failed."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click
import httpx
from rich.text import Text

from flytebuild.cli import signals
from flytebuild.cli.console import err
from flytebuild.cli.interruption import wants_to_leave
from flytebuild.cli.run_text import ENDED, RunLines, culprit, failed, next_step
from flytebuild.errors import ControlPlaneError, RunError
from flytebuild.runtime import owner

if TYPE_CHECKING:
    from flytebuild.authoring.run import StartedRun
    from flytebuild.runtime.client import ControlPlane

_INTERVAL = 0.2


def follow_run(plane: ControlPlane, started: StartedRun, *, as_json: bool) -> None:
    """Tell each change of the run's actions until it ends, then print what it returned.

    Ctrl-C aborts the run, unless the user says that it shall go on. Raises RunError when it ends in anything but
    success.
    """
    from flytebuild.authoring.run import describe

    console = err()
    lines = RunLines()
    try:
        console.print(Text(f"Run {started.name}: {started.url}"))
        with owner.http(plane.endpoint) as http:
            document = document_of(http, started.name)
            while True:
                for line in lines.take(document["actions"]):
                    console.print(line)
                if document["phase"] in ENDED:
                    break
                time.sleep(_INTERVAL)
                document = document_of(http, started.name)
            failure = None if document["phase"] == "SUCCEEDED" else _failure(http, started, document)
    except KeyboardInterrupt:
        if wants_to_leave(started.name):
            console.print(Text(f"Run {started.name} goes on: {started.url}"))
            raise click.exceptions.Exit(signals.INTERRUPTED) from None
        started.abort()
        console.print(Text(f"Run {started.name} aborted"))
        raise
    if as_json:
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    if failure:
        raise failure
    if not as_json:
        click.echo(describe(started.outputs()))


def document_of(http: httpx.Client, run: str) -> dict[str, Any]:
    """A run that there was, as the control plane tells it (`flytebuild.run/1`). Raises ControlPlaneError."""
    document = find(http, run)
    if document is None:
        raise ControlPlaneError(
            f"The control plane at {http.base_url} no longer knows run `{run}`",
            hint="it was started anew meanwhile; start the run again",
        )
    return document


def find(http: httpx.Client, run: str) -> dict[str, Any] | None:
    """The same of a run that may not be there: then None."""
    try:
        response = http.get(f"/api/runs/{quote(run, safe='')}")
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        response.raise_for_status()
    except httpx.HTTPError as error:
        raise ControlPlaneError(
            f"The control plane at {http.base_url} does not answer",
            hint="`flytebuild up` starts it again; a run that `flytebuild down` has not aborted then goes on",
        ) from error
    document = response.json()
    return document if isinstance(document, dict) else {}


def _failure(http: httpx.Client, started: StartedRun, document: Mapping[str, Any]) -> RunError:
    """The error of the task that raised it, with its place in the user's code as far as its log tells."""
    action = culprit(document["actions"])
    why = failed(document, _log(http, started.name, action["name"]))
    return RunError(why.message, hint=next_step(action, started.name, started.url), details=why.details)


def _log(http: httpx.Client, run: str, action: str) -> str:
    try:
        response = http.get(f"/api/runs/{run}/actions/{action}/logs")
    except httpx.HTTPError:
        # A comfort; the error itself is known.
        return ""
    return response.text if response.is_success else ""
