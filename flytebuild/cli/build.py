"""`flytebuild build`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flytebuild.cli import code, completion, options
from flytebuild.errors import BuildError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flytebuild.build.builder import Outcome
    from flytebuild.build.output import Output
    from flytebuild.plan import ImagePlan, Plan


@click.command(short_help="Build the images that are missing.")
@options.targets
@click.option("--jobs", type=int, help="Images to build at the same time, 1 to 64.")
@click.option(
    "--output",
    metavar="KIND:DIR",
    shell_complete=completion.outputs,
    help="Write every image to DIR instead of publishing any: `oci-archive:DIR` as archives, `oci:DIR` as OCI layouts.",
)
@click.option("--fail-fast", is_flag=True, help="Cancel the other images when one has failed.")
@click.option("--strict", is_flag=True, help="Build nothing where `flytebuild check` finds an error or a warning.")
@click.option("--dry-run", is_flag=True, help="Show what would be asked of BuildKit, and build nothing.")
@click.option("--verbose", "-v", is_flag=True, help="Show what every step writes.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document (`flytebuild.build/1`).")
@options.progress
@options.settings()
@options.paths
def build(
    targets: tuple[str, ...],
    jobs: int | None,
    output: str | None,
    fail_fast: bool,
    strict: bool,
    dry_run: bool,
    verbose: bool,
    as_json: bool,
    progress: str | None,
    paths: tuple[Path, ...],
    flags: Mapping[str, Any],
) -> None:
    """Build the images that are missing, and only those.

    Plans first, as `flytebuild plan` does, then builds in parallel. An image that fails does not stop the others.
    PATH may be a plan that `flytebuild plan -o FILE` has kept: exactly that is built, or nothing, and what changed
    since is said.

    \b
    Examples:
      flytebuild build --for main
      flytebuild build --jobs 8 workflows/
      flytebuild build --output oci-archive:images/
      flytebuild build plan.json
    """
    from flytebuild import config, pipeline
    from flytebuild.cli import saved
    from flytebuild.cli.console import err, notice
    from flytebuild.cli.output import refuse_full
    from flytebuild.cli.plan_text import summary
    from flytebuild.cli.progress import follow
    from flytebuild.saved_plan import refuse_drift

    if as_json or dry_run:
        refuse_full()
    written = _parsed(output) if output else None
    kept = saved.find(paths)
    if kept and (targets or flags["platforms"]):
        raise UsageError(f"`{kept.file}` is a saved plan, and says itself what is built, and for which platforms")
    if kept:
        flags = kept.flags | {name: value for name, value in flags.items() if value is not None}
    settings = config.load(Path.cwd(), jobs=jobs, progress=progress, **flags)
    definitions = code.definitions(settings, tuple(kept.paths) if kept else paths)

    async def plan_and_build() -> tuple[Plan, BuildError | Sequence[Outcome]]:
        asked, outputs = kept.plan.targets if kept else targets, (written.folder,) if written else ()
        planned = await pipeline.plan_definitions(
            settings, definitions, asked, notice, outputs=outputs, are_files=written is not None, strict=strict
        )
        if kept:
            refuse_drift(kept.plan, planned, str(kept.file))
        err().print(summary(planned))
        if dry_run:
            return planned, ()
        try:
            with (
                pipeline.recorded(settings) as experience,
                follow(settings.progress, verbose=verbose, expected=experience.seconds) as emit,
            ):
                return planned, await pipeline.build(settings, planned, emit, fail_fast=fail_fast, output=written)
        except BuildError as error:
            return planned, error

    planned, ended = asyncio.run(plan_and_build())
    if as_json:
        click.echo(json.dumps(_document(planned, ended, written, dry_run=dry_run), indent=2))
    elif dry_run and planned.to_build:
        _show_solves(planned, has_bundle=settings.ca_bundle is not None)
    if isinstance(ended, BuildError):
        raise ended


def _parsed(output: str) -> Output:
    # Loaded here: with it comes all that builds, and most builds find nothing to do.
    from flytebuild.build.output import Output

    return Output.parse(output)


def _show_solves(planned: Plan, *, has_bundle: bool) -> None:
    # Loaded here, as above.
    from flytebuild.build.preview import preview
    from flytebuild.cli.console import out
    from flytebuild.cli.plan_text import render_solves

    out().print(render_solves(preview(planned, has_bundle=has_bundle)))


def _document(
    planned: Plan, ended: BuildError | Sequence[Outcome], written: Output | None, *, dry_run: bool
) -> dict[str, object]:
    problems: dict[str, str] = {}
    if isinstance(ended, BuildError):
        manifests, cancelled = ended.manifests, ended.cancelled
        problems = {name: failure.message for failure in ended.failures for name in failure.environments}
        copied = {image.reference for image in planned.to_copy}
    else:
        manifests, cancelled = {outcome.image.reference: outcome.manifest for outcome in ended}, ()
        # One that could not be re-tagged was built after all.
        copied = {outcome.image.reference for outcome in ended if outcome.image.copied_from}

    whole = {item.image for item in planned.environments if item.image in manifests}

    def result(image: ImagePlan) -> str:
        if image.reference in manifests and written:
            return "written"
        if image.reference in manifests:
            return "re-tagged" if image.reference in copied else "built"
        if image.reference in cancelled:
            return "cancelled"
        if image.copied_from:
            return "to re-tag" if dry_run else "failed"
        if image.must_be_built:
            return "to build" if dry_run else "failed"
        return image.status

    def error(image: ImagePlan) -> str | None:
        is_failed = result(image) == "failed"
        return next((problems[name] for name in image.environments if name in problems), None) if is_failed else None

    return {
        "schema": "flytebuild.build/1",
        "images": [
            {
                "digest": image.digest,
                "reference": image.reference,
                "environments": list(image.environments),
                "result": result(image),
                "manifest": manifests.get(image.reference),
                "error": error(image),
                "file": str(written.place(image)) if written and image.reference in whole else None,
            }
            for image in planned.images
        ],
    }
