"""`flytebuild build`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flytebuild.cli import options
from flytebuild.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flytebuild.plan import ImagePlan, Plan


@click.command(short_help="Build the images that are missing.")
@options.targets
@click.option("--jobs", type=int, help="Images to build at the same time, 1 to 64.")
@click.option("--verbose", "-v", is_flag=True, help="Show what every step writes.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document (`flytebuild.build/1`).")
@options.platforms
@options.stat_cache
@options.paths
def build(
    targets: tuple[str, ...],
    jobs: int | None,
    verbose: bool,
    as_json: bool,
    platforms: tuple[str, ...],
    stat_cache: bool | None,
    paths: tuple[Path, ...],
) -> None:
    """Build the images that are missing, and only those.

    Plans first, as `flytebuild plan` does, then builds in parallel. An image that fails does not stop the others.

    \b
    Examples:
      flytebuild build --for main
      flytebuild build --jobs 8 workflows/
    """
    from flytebuild import config, pipeline
    from flytebuild.authoring.loader import load
    from flytebuild.cli.console import err
    from flytebuild.cli.plan_text import summary
    from flytebuild.cli.progress import follow, notice

    settings = config.load(Path.cwd(), jobs=jobs, platforms=platforms or None, stat_cache=stat_cache)
    # Before there is an event loop: it would keep Ctrl-C from a module that takes its time.
    definitions = load(options.or_here(paths))

    async def plan_and_build() -> tuple[Plan, Mapping[str, str | None], BuildError | None]:
        planned = await pipeline.plan_definitions(settings, definitions, targets, notice)
        err().print(summary(planned))
        try:
            with follow(verbose=verbose) as emit:
                outcomes = await pipeline.build(settings, planned, emit)
        except BuildError as error:
            return planned, error.manifests, error
        return planned, {outcome.image.reference: outcome.manifest for outcome in outcomes}, None

    planned, manifests, error = asyncio.run(plan_and_build())
    if as_json:
        click.echo(json.dumps(_document(planned, manifests), indent=2))
    if error:
        raise error


def _document(planned: Plan, manifests: Mapping[str, str | None]) -> dict[str, object]:
    def result(image: ImagePlan) -> str:
        if image.reference in manifests:
            return "built"
        return "failed" if image.must_be_built else image.status

    return {
        "schema": "flytebuild.build/1",
        "images": [
            {
                "digest": image.digest,
                "reference": image.reference,
                "environments": list(image.environments),
                "result": result(image),
                "manifest": manifests.get(image.reference),
            }
            for image in planned.images
        ],
    }
