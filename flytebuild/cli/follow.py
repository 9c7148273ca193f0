"""Following a run to its end: which task runs where, what it returns, why it failed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
import httpx
from rich.text import Text

from flytebuild.cli.console import err
from flytebuild.errors import ControlPlaneError, RunError

if TYPE_CHECKING:
    from flytebuild.authoring.run import StartedRun
    from flytebuild.runtime.client import ControlPlane

_INTERVAL = 0.2
_ENDED = {"SUCCEEDED", "FAILED", "ABORTED", "TIMED_OUT"}
_STYLES = {"SUCCEEDED": "green", "FAILED": "red", "ABORTED": "red", "TIMED_OUT": "red"}


def follow_run(plane: ControlPlane, started: StartedRun, *, as_json: bool) -> None:
    """Tell each change of the run's actions until it ends, then print what it returned.

    Ctrl-C aborts the run. Raises RunError when it ends in anything but success.
    """
    from flytebuild.authoring.run import describe

    console = err()
    console.print(Text(f"Run {started.name}: {started.url}"))
    told: dict[str, str] = {}
    try:
        # Never through a proxy: the address is this machine's.
        with httpx.Client(base_url=plane.endpoint, timeout=10, trust_env=False) as http:
            document = _document(http, started.name)
            while True:
                for line in _changes(document["actions"], told):
                    console.print(line)
                if document["phase"] in _ENDED:
                    break
                time.sleep(_INTERVAL)
                document = _document(http, started.name)
    except KeyboardInterrupt:
        started.abort()
        console.print(Text(f"Run {started.name} aborted"))
        raise
    if as_json:
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    if document["phase"] != "SUCCEEDED":
        raise _failure(started, document)
    if not as_json:
        click.echo(describe(started.outputs()))


def _document(http: httpx.Client, run: str) -> dict[str, Any]:
    try:
        response = http.get(f"/api/runs/{run}")
        if response.status_code == httpx.codes.NOT_FOUND:
            raise ControlPlaneError(
                f"The control plane at {http.base_url} no longer knows run `{run}`",
                hint="it was started anew meanwhile; start the run again",
            )
        response.raise_for_status()
    except httpx.HTTPError as error:
        raise ControlPlaneError(
            f"The control plane at {http.base_url} does not answer",
            hint="`flytebuild status` tells whether it runs; where it has ended, so has the run",
        ) from error
    document = response.json()
    return document if isinstance(document, dict) else {}


def _changes(actions: Iterable[Mapping[str, Any]], told: dict[str, str]) -> Iterable[Text]:
    """A line for every action whose phase is news."""
    for action in actions:
        name, phase = action["name"], action["phase"]
        if told.get(name) == phase or phase in ("QUEUED", "WAITING_FOR_RESOURCES", "INITIALIZING", "UNSPECIFIED"):
            continue
        told[name] = phase
        task = action.get("task") or name
        line = Text.assemble("  ", (f"{phase.lower():<10}", _STYLES.get(phase, "")), f" {task}")
        if action.get("image"):
            line.append(f"  in {action['image']}", "dim")
        if action.get("container"):
            line.append(f"  container {action['container'][:12]}", "dim")
        if phase in _ENDED and action.get("started") and action.get("ended"):
            line.append(f"  {_seconds(action['started'], action['ended']):.1f} s", "dim")
        yield line


def _failure(started: StartedRun, document: Mapping[str, Any]) -> RunError:
    """The run's error is its root action's; an error below may have been caught and answered."""
    root: Mapping[str, Any] = next((item for item in document["actions"] if not item.get("parent")), {})
    detail = ""
    if root.get("error"):
        detail = f" in `{root.get('task') or root['name']}`: {_message(root['error'])}"
    return RunError(
        f"Run `{started.name}` ended as {document['phase'].lower()}{detail}", hint=f"its logs are at {started.url}"
    )


def _seconds(started: str, ended: str) -> float:
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()


def _message(error: object) -> str:
    return str(error.get("message", error)) if isinstance(error, Mapping) else str(error)
