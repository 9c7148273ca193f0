"""`flytebuild rerun`."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flytebuild.cli import options
from flytebuild.errors import RunError, UsageError

if TYPE_CHECKING:
    from flytebuild.runtime.archives import Entry
    from flytebuild.runtime.client import ControlPlane

_FOLDER = "run/flytebuild"
_AGAIN = f"/{_FOLDER}/again"
_INPUTS = f"/{_FOLDER}/inputs.json"


@click.command(short_help="Run an action again by hand, or open a shell where it failed.")
@click.option("--shell", "is_shell", is_flag=True, help="Open a shell instead, in which one command runs it again.")
@options.secrets
@click.argument("run")
@click.argument("action", required=False)
def rerun(is_shell: bool, secrets: dict[str, str] | None, run: str, action: str | None) -> int:
    """Run ACTION of RUN again in its image, at this terminal, with its code, its variables and its inputs.

    ACTION is the one that failed where it is left out. Its record stays as it is, and so do its outputs. Tasks that it
    calls answer with what they have returned, or raised, already. With --shell the code may be changed before. Secrets
    are taken from where they are now, as `flytebuild run` does.

    \b
    Examples:
      flytebuild rerun --shell rxqxdzhuzdy33
      flytebuild rerun rxqxdzhuzdy33 a0
    """
    import os

    from flytebuild import config
    from flytebuild.build.secrets import task_secrets
    from flytebuild.cli.console import err
    from flytebuild.cli.shell import fetched
    from flytebuild.engine import connect
    from flytebuild.runtime import by_hand, client, owner
    from flytebuild.runtime.container import Limits
    from flytebuild.runtime.containers import network_settings, trust
    from flytebuild.runtime.identity import read_bundle
    from flytebuild.runtime.shell import SHELL, Session, converse

    settings = config.load(Path.cwd(), secrets=secrets)
    plane = client.ensure(settings, err().print)
    action = action or _failed(plane, run)
    # A control plane that was started since has none of them.
    owner.hand_over(plane, task_secrets(by_hand.secrets(plane, run, action), os.environ, settings.secrets))
    document = by_hand.again(plane, run, action)
    with contextlib.ExitStack() as stack:
        engine = connect()
        stack.callback(engine.close)
        image = fetched(document["image"], settings)
        entrypoint = document["entrypoint"] or engine.api.inspect_image(image)["Config"].get("Entrypoint") or []
        files = stack.enter_context(by_hand.files(plane, run, action)) if document["has_files"] else None
        if is_shell:
            _tell(document)
        code = converse(
            engine,
            Session(
                image=image,
                command=SHELL if is_shell else (_AGAIN,),
                environment=document["environment"],
                code=(by_hand.fetch(plane, document["code"]) or b"") if document["code"] else b"",
                extra=(*_scripts(document, entrypoint), *trust(read_bundle(settings.ca_bundle))),
                is_terminal=sys.stdin.isatty() and sys.stdout.isatty(),
                network=network_settings(document["network"]),
                limits=Limits(**document["limits"]),
                tree=files,
            ),
        )
    return code if is_shell else _verdict(plane, document, code)


def _failed(plane: ControlPlane, run: str) -> str:
    """The action in which a run's failure began. Raises UsageError, RunError, ControlPlaneError."""
    from flytebuild.cli.follow import find
    from flytebuild.cli.run_text import culprit
    from flytebuild.runtime import owner

    with owner.http(plane.endpoint) as http:
        document = find(http, run)
    if document is None:
        raise UsageError(f"There is no run `{run}`", hint=f"{plane.endpoint} shows those that there are")
    if document["phase"] not in ("FAILED", "TIMED_OUT"):
        raise RunError(f"Run `{run}` has not failed", hint=f"`flytebuild rerun {run} ACTION` names one of its actions")
    return str(culprit(document["actions"])["name"])


def _scripts(document: Mapping[str, Any], entrypoint: Sequence[str]) -> tuple[Entry, ...]:
    """The command that runs the action again, and its inputs."""
    from flytebuild.runtime.archives import Entry

    script = f"#!/bin/sh\nexec {shlex.join((*entrypoint, *document['arguments']))}\n"
    inputs = json.dumps(document["inputs"], indent=2, ensure_ascii=False)
    return (
        Entry(_FOLDER, None, 0o755),
        Entry(_AGAIN.lstrip("/"), script.encode(), 0o755),
        Entry(_INPUTS.lstrip("/"), inputs.encode(), 0o644),
    )


def _tell(document: Mapping[str, Any]) -> None:
    from rich.text import Text

    from flytebuild.cli.console import err

    console = err()
    state = document["phase"].lower().replace("_", " ")
    console.print(Text(f"{document['task']}, attempt {document['attempt']}, {state}"))
    for name, value in document["inputs"].items():
        console.print(Text(f"  {name} = {json.dumps(value, ensure_ascii=False)}"))
    for path in document["secret_files"]:
        console.print(Text(f"  note: its secret `{path}`, a file, is not here"))
    console.print(Text(f"{_AGAIN} runs it again, with the code that lies here; its inputs are in {_INPUTS}"))


def _verdict(plane: ControlPlane, document: Mapping[str, Any], code: int) -> int:
    """The exit code; raises RunError for an error that the task reported, after which its program ends with 0."""
    from flytebuild.runtime import by_hand
    from flytebuild.runtime.verdict import read_document

    error = by_hand.fetch(plane, document["error"]) if document["error"] else None
    if error is None:
        return code
    failure = read_document(error)
    raise RunError(f"`{document['task']}` failed again: {failure.code}: {failure.message}")
