"""`flytebuild prune`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flytebuild.cli import code, options

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.text import Text

    from flytebuild.leftovers import Leftover

SCHEMA = "flytebuild.leftovers/1"


@click.command(short_help="Delete images that no environment needs any more.")
@click.option("--yes", is_flag=True, help="Delete them. Without it they are only shown.")
@click.option("--json", "as_json", is_flag=True, help=f"Print one JSON document (`{SCHEMA}`).")
@options.settings()
@options.paths
def prune(yes: bool, as_json: bool, paths: tuple[Path, ...], flags: Mapping[str, Any]) -> int:
    """Show what is left of images that no environment of the code at PATH reaches; with `--yes` delete it.

    Looked at are the repositories that its images are published in, or those of the engine's own store where they are
    there. Only images that flytebuild has built count, for the platforms that are planned, and only while nobody else
    has put a tag to them. Who shares a repository with other projects gives the code of all of them. The remote cache
    stays as it is; a registry frees the disk when it collects its garbage.

    \b
    Examples:
      flytebuild prune workflows/
      flytebuild prune --yes workflows/
    """
    from flytebuild import config, pipeline
    from flytebuild.cli.console import notice, out

    settings = config.load(Path.cwd(), **flags)
    definitions = code.definitions(settings, paths)

    async def find() -> tuple[Leftover, ...]:
        planned = await pipeline.plan_definitions(settings, definitions, (), notice, is_checked=False)
        found = await pipeline.unreached(settings, planned, notice)
        if yes:
            await pipeline.forget(settings, found, notice)
        return found

    found = asyncio.run(find())
    if as_json:
        images = [{"digest": item.digest.split()[0], "references": list(item.references)} for item in found]
        click.echo(json.dumps({"schema": SCHEMA, "deleted": yes, "images": images}, indent=2, ensure_ascii=False))
    else:
        for line in _lines(found, are_gone=yes):
            out().print(line)
    return 0


def _lines(found: Sequence[Leftover], *, are_gone: bool) -> Iterator[Text]:
    from rich.text import Text

    for item in found:
        yield Text.assemble("  - ", ("\n    ".join(item.references), "bold"), (f"  {item.digest[:19]}", "dim"))
    count = f"{len(found)} image{'s' * (len(found) != 1)}"
    if not found:
        yield Text("Nothing is left over", "bold")
    elif are_gone:
        yield Text(f"Deleted {count}", "bold")
    else:
        yield Text(f"{count} that no environment here reaches; `flytebuild prune --yes` deletes them", "bold")
