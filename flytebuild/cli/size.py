"""`flytebuild size`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flytebuild.cli import code, options

if TYPE_CHECKING:
    from rich.text import Text

    from flytebuild.plan import ImagePlan
    from flytebuild.size import Account, Share

SCHEMA = "flytebuild.size/1"
OVER_BUDGET = 1
_SHOWN = 12
_LINE = 160
"""Columns of a line that goes to no terminal."""
_LEAST = 40
"""Letters of a layer's name that are shown, however narrow the terminal is."""
_ABSENT = {"present": "gone meanwhile", "missing": "not there", "external": "not ours"}
_PREFIXES = ("mount / from exec /bin/sh -c ", "mount / from exec ")


def _budget(_context: click.Context, _option: click.Parameter, given: str | None) -> int | None:
    from flytebuild.size import parse_size

    try:
        return None if given is None else parse_size(given)
    except ValueError as error:
        raise click.BadParameter(f"{error}; write it like 2GB or 1.5GiB") from error


@click.command(short_help="Show how large images and layers are.")
@options.targets
@click.option("--json", "as_json", is_flag=True, help=f"Print one JSON document (`{SCHEMA}`).")
@click.option("--budget", callback=_budget, metavar="SIZE", help="Exit with 1 when an image is larger, such as `2GB`.")
@options.settings()
@options.paths
def size(
    targets: tuple[str, ...],
    as_json: bool,
    budget: int | None,
    paths: tuple[Path, ...],
    flags: Mapping[str, Any],
) -> int:
    """Show how many bytes the images of a workflow have, each for itself and shared, and the largest layers.

    Sizes are those of the registry, compressed; of images in an engine's own store they are unpacked. Exits with 69
    when it cannot be found out of every image whether it is there.

    \b
    Examples:
      flytebuild size --for main
      flytebuild size --budget 2GB
    """
    from flytebuild import config, inventory, pipeline
    from flytebuild.cli.console import err, notice, out, print_error
    from flytebuild.events import Notice
    from flytebuild.plan.unknown import unmeasured
    from flytebuild.size import account

    settings = config.load(Path.cwd(), **flags)
    definitions = code.definitions(settings, paths)
    planning = pipeline.plan_definitions(settings, definitions, targets, notice, is_checked=False, is_partial=True)
    planned = asyncio.run(planning)
    found = account(asyncio.run(inventory.stored(settings, planned, notice)))
    there = {share.image.reference for share in found.shares}
    absent = [image for image in planned.images if image.reference not in there and not image.members]
    unanswered = unmeasured(planned)
    over = [share for share in found.shares if budget is not None and share.image.size > budget]
    if as_json:
        click.echo(json.dumps(_document(found, absent, budget), indent=2, ensure_ascii=False))
    elif found.shares or not unanswered:
        console = out()
        for line in lines(found, absent, console.width if console.is_terminal else _LINE):
            console.print(line)
    for share in over:
        err().print(_excess(share, budget or 0))
    unbuilt = [image for image in absent if image.status not in ("unknown", "external")]
    if budget is not None and unbuilt:
        notice(Notice(_unbuilt(unbuilt)))
    if unanswered:
        print_error(unanswered)
    code.refuse(planned.problems)
    if unanswered:
        return unanswered.exit_code
    return OVER_BUDGET if over else 0


def _document(found: Account, absent: list[ImagePlan], budget: int | None) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "budget": budget,
        "bytes": found.size,
        "images": [
            {
                "reference": share.image.reference,
                "environments": list(share.image.environments),
                "bytes": share.image.size,
                "own": share.own,
                "shared": share.shared,
                "layers": [layer.digest for layer in share.image.layers],
            }
            for share in found.shares
        ],
        "layers": [
            {"digest": layer.digest, "bytes": layer.size, "images": users, "made_by": layer.made_by}
            for layer, users in found.layers
        ],
        "not_there": [image.reference for image in absent if image.status != "unknown"],
        "unknown": [image.reference for image in absent if image.status == "unknown"],
    }


def lines(found: Account, absent: list[ImagePlan], width: int) -> Iterator[Text]:
    """The images and the largest layers, whose names are cut where they are too long for `width` columns."""
    from rich.text import Text

    from flytebuild.amounts import size as told

    yield Text("Images", "bold")
    for share in found.shares:
        names = ", ".join(share.image.environments)
        shared = f", {told(share.shared)} shared" if share.shared else ""
        yield Text.assemble(
            f"  {told(share.image.size):>9}  ", (names, "bold"), (f"  {told(share.own)} of its own{shared}", "dim")
        )
    for image in absent:
        why = f"unknown: {image.reason}" if image.status == "unknown" else _ABSENT[image.status]
        yield Text.assemble("          ?  ", (", ".join(image.environments), "bold"), (f"  {why}", "dim"))
    yield Text("Layers", "bold")
    for layer, users in found.layers[:_SHOWN]:
        many = f"  in {users} images" if users > 1 else ""
        size_told = f"  {told(layer.size):>9}  "
        name = _words(layer.made_by, width - len(size_told) - len(many)) or layer.digest[:19]
        yield Text.assemble(size_told, name, (many, "dim"))
    if len(found.layers) > _SHOWN:
        yield Text(f"             and {len(found.layers) - _SHOWN} smaller ones", "dim")
    count = len(found.shares)
    yield Text(f"{count} image{'s' * (count != 1)}, {told(found.size)} together", "bold")


def _words(made_by: str, room: int) -> str:
    """What made a layer, for people: the command alone, on one line of so many columns, but at least a few."""
    for prefix in _PREFIXES:
        made_by = made_by.removeprefix(prefix)
    line = " ".join(made_by.split())
    room = max(room, _LEAST)
    return line if len(line) <= room else line[: room - 1] + "…"


def _unbuilt(images: list[ImagePlan]) -> str:
    names = ", ".join(f"`{name}`" for image in images for name in image.environments)
    what = f"the image of {names} is" if len(images) == 1 else f"the images of {names} are"
    return f"{what} not compared with the budget: `flytebuild build` first"


def _excess(share: Share, budget: int) -> Text:
    from rich.text import Text

    from flytebuild.amounts import size as told

    names = ", ".join(f"`{name}`" for name in share.image.environments)
    message = f"The image of {names} has {told(share.image.size)}, {told(share.image.size - budget)} over the budget"
    return Text.assemble(("error", "bold red"), ": ", message)
