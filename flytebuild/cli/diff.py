"""`flytebuild diff`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import asdict

from flytebuild.cli import completion, options
from flytebuild.cli.here import or_here
from flytebuild.cli.plan import CHANGES

if TYPE_CHECKING:
    from rich.text import Text

    from flytebuild.sides import Side
    from flytebuild.why import Change

SCHEMA = "flytebuild.diff/1"


@click.command(short_help="Show in what two images differ.")
@options.inside
@click.option("--json", "as_json", is_flag=True, help=f"Print one JSON document (`{SCHEMA}`).")
@click.option("--exit-code", is_flag=True, help="Exit with 2 when they differ.")
@click.option(
    "--platform",
    metavar="OS/ARCH",
    shell_complete=completion.platforms,
    help="Which platform's images to compare, instead of the engine's own platform.",
)
@options.settings(without=("platforms",))
@click.argument("before", metavar="BEFORE")
@click.argument("after", metavar="[AFTER]", required=False)
def diff(
    paths: tuple[Path, ...],
    as_json: bool,
    exit_code: bool,
    platform: str | None,
    before: str,
    after: str | None,
    flags: Mapping[str, Any],
) -> int:
    """Show what makes one image another one than BEFORE, down to the package, the file or the variable.

    Each is ENVIRONMENT, as its code is now; ENVIRONMENT@TAG, an image in the place that the environment's are published
    at; or the whole reference of an image. ENVIRONMENT alone is compared with the last image that it had, and
    ENVIRONMENT@TAG alone with what the environment is now.

    \b
    Examples:
      flytebuild diff train
      flytebuild diff train serve
      flytebuild diff train@b3-0172be3162ed0ff0298baeb9434be4b0 train
      flytebuild diff ghcr.io/acme/flyte:b3-0172… ghcr.io/acme/flyte:b3-af2f…
    """
    from flytebuild import config
    from flytebuild.cli.console import notice, out
    from flytebuild.sides import compare, look

    settings = config.load(Path.cwd(), platforms=(platform,) if platform else None, **flags)
    left, right = asyncio.run(look(settings, or_here(paths), before, after, notice))
    found = compare(left, right)
    if as_json:
        click.echo(json.dumps(_document(left, right, found), indent=2, ensure_ascii=False))
    else:
        for line in render(left, right, found):
            out().print(line)
    return CHANGES if exit_code and found else 0


def _document(left: Side, right: Side, found: tuple[Change, ...]) -> dict[str, object]:
    sides = {name: {"name": side.name, "digest": side.image} for name, side in (("before", left), ("after", right))}
    changes, layers = [], right.composition.digests
    for change in found:
        fields = asdict(change)
        place = fields.pop("layer")
        layer = None if place is None else layers[place]
        changes.append({"layer": layer, "field": fields.pop("what"), **fields, "origin": change.origin or None})
    return {"schema": SCHEMA, **sides, "changes": changes}


def render(left: Side, right: Side, found: tuple[Change, ...]) -> list[Text]:
    """What people see: the two images, and every difference in a line of its own."""
    from rich.text import Text

    names = Text.assemble((left.image[:12], "bold"), f"  {left.name}\n", (right.image[:12], "bold"), f"  {right.name}")
    if not found:
        return [names, Text("the same image" if left.image == right.image else "made of the same")]
    told = [
        Text.assemble("  ", words, (f"  ({change.origin})" if change.origin else "", "dim"))
        for change in found
        for words in _words(change)
    ]
    return [names, *told]


def _words(change: Change) -> Iterable[str]:
    """All of a change: what a plan only counts is listed here."""
    from flytebuild.spec.differences import pin_changes

    if change.what == "pins":
        return [f"pip: {item}" for item in pin_changes(change.before, change.after)]
    return [change.words]
