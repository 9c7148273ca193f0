"""`flytebuild graph`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from flytebuild.cli import code, options

if TYPE_CHECKING:
    from flytebuild.config import Config
    from flytebuild.plan import Plan

Form = Literal["dot", "mermaid", "html", "json"]
_SUFFIXES: dict[str, Form] = {
    ".dot": "dot",
    ".gv": "dot",
    ".mmd": "mermaid",
    ".html": "html",
    ".htm": "html",
    ".json": "json",
}


@click.command(short_help="Draw environments, images and the layers that they share.")
@options.targets
@click.option(
    "--format",
    "form",
    type=click.Choice(("dot", "mermaid", "html", "json")),
    help="As the output's name says without it; dot for stdout.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document (`flytebuild.graph/1`).")
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where to write it (`.dot`, `.mmd`, `.html` or `.json`), instead of stdout.",
)
@options.settings()
@options.paths
def graph(
    targets: tuple[str, ...],
    form: Form | None,
    as_json: bool,
    output: Path | None,
    paths: tuple[Path, ...],
    flags: Mapping[str, Any],
) -> int:
    """Draw what a workflow's environments need: which images, of which layers, which of them shared, which missing.

    DOT is for Graphviz, Mermaid for Markdown on GitHub and GitLab, HTML is a page of its own, JSON for programs.

    \b
    Examples:
      flytebuild graph --for main | dot -Tsvg > plan.svg
      flytebuild graph -o plan.html
    """
    from flytebuild import config, pipeline
    from flytebuild.cli import saved
    from flytebuild.cli.console import notice

    form = options.form(form, is_json=as_json) or _form_of(output)
    settings = config.load(Path.cwd(), **flags)
    definitions = code.definitions(settings, paths)
    outputs = (output,) if output else ()
    planning = pipeline.plan_definitions(
        settings, definitions, targets, notice, outputs=outputs, is_checked=False, is_partial=True
    )
    planned = asyncio.run(planning)
    text = _drawn(planned, settings, form)
    if output is None:
        click.echo(text)
    else:
        try:
            output.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise saved.unwritable(output, error) from error
    code.refuse(planned.problems)
    return 0


def _form_of(output: Path | None) -> Form:
    """As a file's name says; DOT for stdout. Raises UsageError for another kind of file, such as an image."""
    suffix = output.suffix.lower() if output else ".dot"
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    from flytebuild.errors import UsageError

    raise UsageError(
        f"`{output}` does not say which form it is to have: its name ends in none of {', '.join(_SUFFIXES)}",
        hint="`flytebuild graph | dot -Tsvg > plan.svg` draws an image, and `--format` writes one form to any file",
    )


def _drawn(planned: Plan, settings: Config, form: Form) -> str:
    from flytebuild import pipeline
    from flytebuild.cli.plan_text import summary
    from flytebuild.drawing.document import document
    from flytebuild.drawing.dot import dot
    from flytebuild.drawing.html import html
    from flytebuild.drawing.mermaid import mermaid

    with pipeline.recorded(settings) as experience:
        match form:
            case "html":
                return html(planned, summary(planned), experience)
            case "json":
                return json.dumps(document(planned, experience), indent=2, ensure_ascii=False)
            case "mermaid":
                return mermaid(planned, experience)
            case "dot":
                return dot(planned, experience)
