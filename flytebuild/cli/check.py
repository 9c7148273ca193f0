"""`flytebuild check`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flytebuild.cli import code, options
from flytebuild.errors import DefinitionError, EngineUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flytebuild.authoring.environments import Definitions
    from flytebuild.check.exact import Answer
    from flytebuild.check.finding import Finding
    from flytebuild.config import Config
    from flytebuild.graph import EnvironmentNode

_SECONDS = 120
"""How long importing the modules of one environment may take."""


@click.command(short_help="Look for mistakes that a run would fail on.")
@options.targets
@click.option("--in-image", is_flag=True, help="Import every task's module in its image; what is missing is built.")
@click.option("--strict", is_flag=True, help="Exit with 65 for warnings too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document (`flytebuild.check/1`).")
@options.settings(without=("platforms",))
@options.paths
def check(
    targets: tuple[str, ...],
    in_image: bool,
    strict: bool,
    as_json: bool,
    paths: tuple[Path, ...],
    flags: Mapping[str, Any],
) -> int:
    """Look for what a run would fail on: calls without `depends_on`, packages that an image lacks; and lints.

    Nothing is built or run, but for modules that `--in-image` imports in containers. A rule is turned off with `ignore`
    in the configuration, or for one line with a comment: `# flytebuild: ignore[RULE]`. Exits with 65 when there is an
    error.

    \b
    Examples:
      flytebuild check
      flytebuild check --for train --in-image
      flytebuild check --json | jq '.findings[].message'
    """
    from flytebuild import checks, config, pipeline
    from flytebuild.check.finding import to_document
    from flytebuild.cli.check_text import render
    from flytebuild.cli.console import notice, out

    settings = config.load(Path.cwd(), **flags)
    definitions = code.definitions(settings, paths)
    with pipeline.reader(settings, notice) as read:
        nodes, problems = (definitions.needed(targets, read), ()) if targets else definitions.usable(read)
    findings = checks.check(settings, definitions, nodes)
    if in_image:
        findings = checks.exact(
            settings, definitions, nodes, findings, _answers(settings, definitions, nodes, findings)
        )
    if as_json:
        names = tuple(node.name for node in nodes)
        click.echo(json.dumps(to_document(findings, names), indent=2, ensure_ascii=False))
    else:
        out().print(render(findings, len(nodes)))
    code.refuse(problems)
    is_refused = any(item.is_serious if strict else item.level == "error" for item in findings)
    return DefinitionError.exit_code if is_refused else 0


def _answers(
    settings: Config, definitions: Definitions, nodes: Sequence[EnvironmentNode], findings: Sequence[Finding]
) -> dict[str, Answer]:
    """What came of importing the modules of each environment's tasks in its image."""
    from flytebuild import checks, inside
    from flytebuild.check.exact import Answer
    from flytebuild.cli import shell
    from flytebuild.cli.console import err
    from flytebuild.engine import connect
    from flytebuild.runtime import trial

    asked = {node: names for node in nodes if (names := checks.modules(definitions, node))}
    images = asyncio.run(shell.built(settings, list(asked)))
    answers: dict[str, Answer] = {}
    client = connect()
    try:
        for (node, names), image in zip(asked.items(), images, strict=True):
            err().print(f"importing {', '.join(names)} in the image of {node.name}")
            packages = {name for item in findings if item.environment == node.name for name in item.modules}
            wanted = json.dumps({"modules": names, "packages": sorted(packages)})
            command = ("python", "-c", inside.text_of("importing"), wanted)
            try:
                ended = trial.run(client, shell.session(settings, definitions, node, image, command), _SECONDS)
            except EngineUnavailableError as error:
                # An image that cannot be pulled, or has no Python, says nothing about the others.
                answers[node.name] = Answer(problem=error.message)
                continue
            answers[node.name] = (
                Answer.parse(ended.code, ended.out, ended.err)
                if ended
                else Answer(problem=f"it takes longer than {_SECONDS} seconds")
            )
    finally:
        client.close()
    return answers
