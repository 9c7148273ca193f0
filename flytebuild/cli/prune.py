"""`flytebuild prune`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flytebuild.amounts import size
from flytebuild.cli import code, options

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.text import Text

    from flytebuild.build.cache.unreached import CachedResults
    from flytebuild.leftovers import Leftover

SCHEMA = "flytebuild.leftovers/1"


@click.command(short_help="Delete images that no environment needs any more.")
@click.option("--yes", is_flag=True, help="Delete them. Without it they are only shown.")
@click.option("--cache", is_flag=True, help="Also results in the remote cache that no image of this code is made of.")
@click.option(
    "--older-than",
    "days",
    type=click.IntRange(min=0),
    default=30,
    show_default=True,
    metavar="DAYS",
    help="With `--cache`: only those that were made before.",
)
@click.option("--json", "as_json", is_flag=True, help=f"Print one JSON document (`{SCHEMA}`).")
@options.settings()
@options.paths
def prune(yes: bool, cache: bool, days: int, as_json: bool, paths: tuple[Path, ...], flags: Mapping[str, Any]) -> int:
    """Show what is left of images that no environment of the code at PATH reaches; with `--yes` delete it.

    Looked at are the repositories that its images are published in, or those of the engine's own store where they are
    there. Only images that flytebuild has built count, for the platforms that are planned, and only while nobody else
    has put a tag to them. Who shares a repository with other projects gives the code of all of them.

    An image's own layers are those that no other of these images has which stays; other repositories may have them as
    well. A registry's are compressed, and it frees the disk when it collects its garbage; an engine's are unpacked.

    The remote cache is everybody's who pushes to the registry, and does not say who still uses what: `--cache` takes
    what this code does not and what is older than `--older-than`. That costs others the time of a build at most.
    An engine's own build cache does not say which results are of whom, either, and stays as it is: the engine keeps it
    to a size, and `docker builder prune --filter until=720h` removes what nobody has used for 30 days.

    \b
    Examples:
      flytebuild prune workflows/
      flytebuild prune --yes workflows/
      flytebuild prune --cache --older-than 90 .
    """
    from flytebuild import config, inventory, pipeline
    from flytebuild.cli.console import out
    from flytebuild.cli.progress.counting import counting

    settings = config.load(Path.cwd(), **flags)
    definitions = code.definitions(settings, paths)
    until = datetime.now(timezone.utc) - timedelta(days=days)

    async def find() -> tuple[tuple[Leftover, ...], tuple[CachedResults, ...]]:
        with counting() as emit:
            planned = await pipeline.plan_definitions(settings, definitions, (), emit, is_checked=False)
            images = await inventory.unreached(settings, planned, emit)
            results = await inventory.unreached_results(settings, planned, until, emit) if cache else ()
            if yes:
                await inventory.forget(settings, planned, images, results, emit)
        return images, results

    images, results = asyncio.run(find())
    if as_json:
        click.echo(json.dumps(_document(images, results, are_gone=yes), indent=2, ensure_ascii=False))
    else:
        for line in lines(images, results, are_gone=yes, days=days if cache else None):
            out().print(line)
    return 0


def _document(images: Sequence[Leftover], results: Sequence[CachedResults], *, are_gone: bool) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "deleted": are_gone,
        "bytes": _freed(images, results),
        "images": [
            {
                "digest": item.digest.split()[0],
                "references": list(item.references),
                "made": item.made.isoformat() if item.made else None,
                "bytes": item.size,
                "own": sum(item.own.values()),
            }
            for item in images
        ],
        "cache": [
            {
                "digest": item.digest,
                "references": list(item.references),
                "made": item.made.isoformat(),
                "bytes": item.size,
            }
            for item in results
        ],
    }


def _freed(images: Sequence[Leftover], results: Sequence[CachedResults]) -> int:
    """The bytes that go at most, each layer once: other repositories and other results may have them as well."""
    cached = {layer.digest: layer.size for item in results for layer in item.layers}
    return sum((cached | {digest: size for item in images for digest, size in item.own.items()}).values())


def lines(
    images: Sequence[Leftover], results: Sequence[CachedResults], *, are_gone: bool, days: int | None = None
) -> Iterator[Text]:
    """What is left over, or was; `days` is how old results of the cache must be, None where it was not looked at."""
    from rich.text import Text

    for item in images:
        made = f"of {item.made:%Y-%m-%d}, " if item.made else ""
        told = f"{item.digest[:19]}  {made}{size(item.size)}, {size(sum(item.own.values()))} of its own"
        yield Text.assemble("  - ", ("\n    ".join(item.references), "bold"), (f"\n    {told}", "dim"))
    for found in results:
        place, count = found.references[0].rpartition(":")[0], len(found.references)
        what = f"{count} result{'s' * (count != 1)} of {found.made:%Y-%m-%d}, {size(found.size)}"
        yield Text.assemble("  - ", (f"{place}@{found.digest[:19]}", "bold"), (f"  {what}", "dim"))
    if days is not None and not results:
        age = f" is older than {_count(days, 'day')}" if days else ""
        yield Text(f"cache: nothing that no environment here reaches{age}")
    if not images and not results:
        yield Text("Nothing is left over", "bold")
        return
    parts = [_count(len(images), "image")] if images or not results else []
    parts += [_count(len(results), "manifest") + " of the cache"] if results else []
    told = " and ".join(parts)
    it, freed = "it" if len(images) + len(results) == 1 else "them", _freed(images, results)
    layers = f", and up to {size(freed)} of layers with {it}" if freed else ""
    if are_gone:
        yield Text(f"Deleted {told}{layers}", "bold")
    else:
        yield Text(f"{told} that no environment here reaches; `--yes` deletes {it}{layers}", "bold")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
