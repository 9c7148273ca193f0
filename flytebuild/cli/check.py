"""`flytebuild check`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from flytebuild.cli import options
from flytebuild.errors import DefinitionError


@click.command(short_help="Look for mistakes that a run would fail on.")
@options.targets
@click.option("--strict", is_flag=True, help="Exit with 65 for warnings too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document (`flytebuild.check/1`).")
@options.paths
def check(targets: tuple[str, ...], strict: bool, as_json: bool, paths: tuple[Path, ...]) -> int:
    """Look for what a run would fail on: calls without `depends_on`, packages that an image lacks; and lints.

    Nothing is built or run. A rule is turned off with `ignore` in the configuration, or
    for one line with a comment: `# flytebuild: ignore[RULE]`. Exits with 65 when there is an error.

    \b
    Examples:
      flytebuild check
      flytebuild check --for train --strict
      flytebuild check --json | jq '.findings[].message'
    """
    from flytebuild import checks, config, pipeline
    from flytebuild.authoring.loader import load
    from flytebuild.check.finding import to_document
    from flytebuild.cli.check_text import render
    from flytebuild.cli.console import out
    from flytebuild.cli.progress import notice

    settings = config.load(Path.cwd())
    definitions = load(options.or_here(paths), notice)
    with pipeline.reader(settings, notice) as read:
        nodes = definitions.needed(targets, read)
    findings = checks.check(settings, definitions, nodes)
    if as_json:
        names = tuple(node.name for node in nodes)
        click.echo(json.dumps(to_document(findings, names), indent=2, ensure_ascii=False))
    else:
        out().print(render(findings, len(nodes)))
    is_refused = any(item.is_serious if strict else item.level == "error" for item in findings)
    return DefinitionError.exit_code if is_refused else 0
