"""`flytebuild explain`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flytebuild.cli import code, completion, options

if TYPE_CHECKING:
    from rich.text import Text

    from flytebuild.plan import ImagePlan
    from flytebuild.spec.model import ImageSpec

SCHEMA = "flytebuild.explain/1"


@click.command(short_help="Show everything that an image's digest is taken of.")
@options.inside
@click.option("--json", "as_json", is_flag=True, help=f"Print one JSON document (`{SCHEMA}`).")
@options.settings()
@click.argument("name", metavar="ENVIRONMENT", shell_complete=completion.targets)
def explain(paths: tuple[Path, ...], as_json: bool, name: str, flags: Mapping[str, Any]) -> int:
    """Show everything that the digest of an environment's image is taken of, and nothing that it is not.

    Each document is shown with its canonical bytes (RFC 8785 JSON) and their digest (BLAKE3, with the context that is
    named), so that anybody can compute it again: docs/spec.md says how. Then come the wheels of packages whose versions
    are decided: where each was found, and which wheel layer it is in. ENVIRONMENT may be a task's name as well.

    \b
    Examples:
      flytebuild explain train
      flytebuild explain main.main --in main.py --json
    """
    from flytebuild import config, pipeline
    from flytebuild.cli.console import notice, out

    settings = config.load(Path.cwd(), **flags)
    definitions = code.definitions(settings, paths)
    with pipeline.reader(settings, notice) as read:
        environment = definitions.alone(name, read)
    planned = asyncio.run(pipeline.plan_nodes(settings, [environment], notice))
    images = [image for image in planned.images if image.spec]
    if as_json:
        shown = [_document(image) for image in images]
        document = {"schema": SCHEMA, "environment": environment.name, "images": shown}
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return 0
    for image in planned.images:
        for line in _lines(environment.name, image):
            out().print(line)
    return 0


def _document(image: ImagePlan) -> dict[str, Any]:
    from flytebuild.spec.key import key
    from flytebuild.spec.resolution import resolution

    assert image.spec is not None  # noqa: S101 - the caller's choice
    return {
        "platform": str(image.spec.platform),
        "reference": image.reference,
        "digest": image.digest,
        "parts": [
            {
                "kind": part.kind,
                "context": part.context,
                "digest": part.digest,
                "summary": part.summary,
                "origin": part.origin or None,
                "canonical": part.content.decode(),
            }
            for part in key(image.spec)
        ],
        "wheels": [
            {
                "name": item.pin.name,
                "version": item.pin.version,
                "filename": item.pin.filename,
                "sha256": item.pin.sha256,
                "url": item.pin.url or None,
                "bytes": item.pin.size,
                "wheel_layer": item.layer or None,
                "asked": item.asked,
                "origin": item.origin or None,
            }
            for item in resolution(image.spec)
        ],
    }


def _lines(name: str, image: ImagePlan) -> Iterator[Text]:
    from rich.text import Text

    from flytebuild.spec.key import key

    if not image.spec:
        what = "named by the user, and used as it is" if image.status == "external" else "an index of the images above"
        yield Text.assemble((name, "bold"), f"  {image.reference}  {what}")
        return
    yield Text.assemble((name, "bold"), f"  {image.spec.platform}  image {image.digest}")
    yield Text(f"  {image.reference}", "dim")
    for part in key(image.spec):
        origin = f"  ({part.origin})" if part.origin else ""
        yield Text.assemble("  ", (f"{part.digest[:12]}  {part.summary}", "bold"), (origin, "dim"))
        yield Text(f"    BLAKE3 {part.digest}, context `{part.context}`, of", "dim")
        yield Text(f"    {part.content.decode()}")
    yield from _wheels(image.spec)


def _wheels(spec: ImageSpec) -> Iterator[Text]:
    """The wheels that the image has, where each was found, and how it gets there."""
    from rich.text import Text

    from flytebuild.amounts import size
    from flytebuild.spec.resolution import resolution

    for number, item in enumerate(resolution(spec)):
        if not number:
            yield Text("  wheels", "bold")
        told = "" if item.pin.size is None else f"  {size(item.pin.size)}"
        place = f"in wheel layer {item.layer[:12]}" if item.layer else "installed by a step"
        yield Text.assemble("  ", (f"{item.pin.name} {item.pin.version}", "bold"), f"{told}  {place}")
        yield Text(f"    sha256 {item.pin.sha256}", "dim")
        yield Text(f"    {item.pin.url or item.pin.filename}", "dim")
