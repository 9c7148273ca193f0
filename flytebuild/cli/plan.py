"""`flytebuild plan`."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flytebuild.cli import code, here, options

if TYPE_CHECKING:
    from flytebuild.authoring.environments import Definitions
    from flytebuild.config import Config
    from flytebuild.wheels.moved import Moved

CHANGES = 2


@click.command(short_help="Show what is needed, what is there, what is missing.")
@options.targets
@click.option(
    "--format",
    "form",
    type=click.Choice(("text", "json", "markdown")),
    help="Markdown is for the summaries of CI jobs, and for comments.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document (`flytebuild.plan/1`).")
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Keep the plan in FILE as well; `flytebuild build FILE` builds exactly that, or says what changed.",
)
@click.option(
    "--verbose", "-v", is_flag=True, help="Show what is there as well, and what each image and each layer will take."
)
@click.option("--exit-code", is_flag=True, help="Exit with 2 when something must be built.")
@click.option(
    "--offline",
    is_flag=True,
    default=None,
    help="Use no network: what registries answered before counts, and what they never did is unknown.",
)
@click.option(
    "--refresh", is_flag=True, help="Ask again what was answered a moment ago (`fresh` in the configuration)."
)
@click.option(
    "--fresh-lock", is_flag=True, help="Tell, too, which versions and digests `flytebuild lock --upgrade` would move."
)
@options.settings()
@options.paths
def plan(
    targets: tuple[str, ...],
    form: str | None,
    as_json: bool,
    output: Path | None,
    verbose: bool,
    exit_code: bool,
    offline: bool | None,
    refresh: bool,
    fresh_lock: bool,
    paths: tuple[Path, ...],
    flags: Mapping[str, Any],
) -> int:
    """Show what a workflow's environments need, what is there, and what must be built.

    Loads PATH (a Python file, or a folder with all files in it that import flyte; the current folder by default).
    Builds nothing. Environments whose image is there are told in one line (`=`), what must be built (`+`) with all its
    layers and the reason.

    \b
    Examples:
      flytebuild plan
      flytebuild plan --for main
      flytebuild plan --json main.py
      flytebuild plan --for main -o plan.json && flytebuild build plan.json
      flytebuild plan --format markdown >> "$GITHUB_STEP_SUMMARY"
    """
    from flytebuild import config, pipeline
    from flytebuild.build.foresight import obstacles
    from flytebuild.cli.console import notice, out
    from flytebuild.cli.plan_text import render
    from flytebuild.cli.wrapping import fitted
    from flytebuild.events import Notice

    form = options.form(form, is_json=as_json)
    settings = config.load(Path.cwd(), offline=offline, **flags)
    definitions = code.definitions(settings, paths)
    outputs = (output,) if output else ()
    # Half a plan is worth a look, and is not one to be built from.
    planning = pipeline.plan_definitions(
        settings,
        definitions,
        targets,
        notice,
        outputs=outputs,
        is_partial=output is None,
        fresh=0 if refresh else settings.fresh,
    )
    planned = asyncio.run(planning)
    if settings.offline and planned.as_of is not None:
        at = datetime.fromtimestamp(planned.as_of, timezone.utc)
        notice(Notice(f"Nobody was asked (`offline`): what is there is as of {at:%Y-%m-%d %H:%M} UTC, or later"))
    for message in obstacles(planned, settings, os.environ):
        notice(Notice(message))
    if fresh_lock:
        told = ", ".join(item.words for item in _moved(settings, definitions, targets))
        notice(Notice(f"a fresh lock would change {told or 'nothing'}"))
    foreseen = pipeline.foresee(settings, planned) if planned.to_build else None
    if output:
        from flytebuild.cli import saved

        saved.write(output, planned, settings, here.or_here(paths), targets, foreseen)
    if form == "json":
        from flytebuild.plan.document import to_document

        click.echo(json.dumps(to_document(planned, foreseen), indent=2, ensure_ascii=False))
    elif form == "markdown":
        from flytebuild.cli.plan_markdown import markdown

        click.echo(markdown(planned, foreseen))
    else:
        console = out()
        console.print(fitted(render(planned, foreseen, verbose=verbose), console))
    code.refuse(planned.problems)
    return CHANGES if exit_code and not planned.is_fulfilled else 0


def _moved(settings: Config, definitions: Definitions, targets: tuple[str, ...]) -> tuple[Moved, ...]:
    """What a lock of today has otherwise than the one that there is. Raises UsageError where there is none."""
    from flytebuild import pipeline
    from flytebuild.errors import UsageError
    from flytebuild.wheels import lockfile
    from flytebuild.wheels.moved import moved
    from flytebuild.wheels.resolver import Moves

    before = lockfile.read(settings.lock) if settings.lock else None
    if before is None:
        raise UsageError("There is no lock that a fresh one could differ from", hint="`flytebuild lock` makes it")
    with pipeline.reader(settings) as read:
        nodes = definitions.needed(targets, read)
    every = Moves(everything=True)
    return moved(before, asyncio.run(pipeline.lock(settings, nodes, every, is_partial=bool(targets))))
