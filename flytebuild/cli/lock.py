"""`flytebuild lock`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import asdict

from flytebuild.cli import code, completion, options
from flytebuild.errors import UsageError

if TYPE_CHECKING:
    from rich.text import Text

    from flytebuild.graph import EnvironmentNode
    from flytebuild.spec.layers import Pin
    from flytebuild.wheels.lock import Lock, LockedLayer, UnlockedLayer
    from flytebuild.wheels.moved import Moved

SCHEMA = "flytebuild.lock/1"


@click.command(short_help="Decide which versions images install, and keep them in `flytebuild.lock`.")
@options.targets
@click.option(
    "--update",
    "names",
    multiple=True,
    metavar="NAME",
    shell_complete=completion.locked,
    help="A package, or the name of an image, that may move; the others stay if they can. Repeatable.",
)
@click.option("--upgrade", is_flag=True, help="Let everything move, as if there were no lock.")
@click.option("--check", is_flag=True, help="Exit with 65 where something is not in the lock; nothing is resolved.")
@click.option("--dry-run", is_flag=True, help="Show what would move, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help=f"Print one JSON document (`{SCHEMA}`).")
@options.settings(without=("locked", "wheel_layers"))
@options.paths
def lock(
    targets: tuple[str, ...],
    names: tuple[str, ...],
    upgrade: bool,
    check: bool,
    dry_run: bool,
    as_json: bool,
    paths: tuple[Path, ...],
    flags: Mapping[str, Any],
) -> None:
    """Write down the digests of all images, and the wheels of all layers that install packages, with their hashes.

    `plan`, `build` and `run` keep to `flytebuild.lock` from then on: the same code installs the same packages next
    year. What it says stays until a layer changes, or `--update` or `--upgrade` lets it move. Layers that cannot be
    locked are named with the reason, and stay as they are.

    \b
    Examples:
      flytebuild lock
      flytebuild lock --update pandas
      flytebuild lock --upgrade --dry-run
      flytebuild lock --check
    """
    from flytebuild import config, pipeline
    from flytebuild.cli.console import notice, out
    from flytebuild.wheels import lockfile
    from flytebuild.wheels.lock import Lock
    from flytebuild.wheels.moved import moved
    from flytebuild.wheels.resolver import Moves

    if check and (names or upgrade):
        option = "--update" if names else "--upgrade"
        raise UsageError(
            f"`--check` moves nothing, so `{option}` has nothing to say there", hint=f"`{option}` goes with `--dry-run`"
        )
    settings = config.load(Path.cwd(), **flags)
    file = settings.lock or Path(config.LOCK)
    known = lockfile.read(file)
    moves = Moves(frozenset(_checked(names, known, file)), upgrade)
    definitions = code.definitions(settings, paths)
    with pipeline.reader(settings, notice) as read:
        nodes = definitions.needed(targets, read)
    if check:
        asyncio.run(pipeline.check_lock(settings, nodes, notice))
        after = known or Lock()
    else:
        after = asyncio.run(pipeline.lock(settings, nodes, moves, notice, is_partial=bool(targets)))
    is_other = lockfile.differs(known, after)
    is_written = is_other and not check and not dry_run
    if is_written:
        lockfile.exchange(file, known, after)
    changes = moved(known or Lock(), after)
    if as_json:
        click.echo(json.dumps(_document(file, after, changes, is_written=is_written), indent=2, ensure_ascii=False))
        return
    for line in _lines(file, known, after, changes, nodes, is_written=is_written, is_dry=dry_run and is_other):
        out().print(line)


def _checked(names: Sequence[str], known: Lock | None, file: Path) -> Iterator[str]:
    """The names of packages and images that may move. Raises UsageError for one that the lock does not have."""
    from flytebuild.spec.normalise import name as normal

    if names and known is None:
        raise UsageError(f"There is no `{file}` in which something could move", hint="`flytebuild lock` makes it")
    there = known.names if known else frozenset()
    for name in names:
        found = name if name in there else normal(name)
        if found not in there:
            nearest = get_close_matches(found, there, 1)
            hint = f"did you mean `{nearest[0]}`?" if nearest else "`--update` takes what the lock has already"
            raise UsageError(f"`{name}` is neither a package nor an image in `{file}`", hint=hint)
        yield found


def _document(file: Path, lock: Lock, changes: Sequence[Moved], *, is_written: bool) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "file": str(file),
        "written": is_written,
        "changes": [asdict(item) for item in changes],
        "images": [
            {"reference": item.reference, "platform": item.platform, "digest": item.digest, "ready": item.is_ready}
            for item in lock.images
        ],
        "layers": [
            {
                "asked": layer.asked,
                "environments": list(layer.environments),
                "platform": layer.platform,
                "fingerprint": layer.fingerprint,
                "where": list(layer.where),
                "python": layer.python,
                "replaces": list(layer.replaces),
                "obstacle": layer.obstacle or None,
                "wheels": [_wheel(pin) for pin in layer.pins],
            }
            for layer in lock.layers
        ],
        "unlocked": [
            {
                "asked": layer.asked,
                "environments": list(layer.environments),
                "platform": layer.platform,
                "fingerprint": layer.fingerprint,
                "reason": layer.reason,
            }
            for layer in lock.unlocked
        ],
    }


def _wheel(pin: Pin) -> dict[str, Any]:
    modules = None if pin.modules is None else list(pin.modules)
    return {**pin.document(), "url": pin.url or None, "bytes": pin.size, "modules": modules}


def _lines(
    file: Path,
    known: Lock | None,
    lock: Lock,
    changes: Sequence[Moved],
    nodes: Sequence[EnvironmentNode],
    *,
    is_written: bool,
    is_dry: bool,
) -> Iterator[Text]:
    from rich.text import Text

    for change in changes if known else ():
        yield Text(f"  {change.words}")
    for layer in lock.unlocked:
        yield from _left("not locked", layer, layer.reason, nodes)
    for locked in lock.layers:
        if locked.obstacle:
            yield from _left("installed by a step", locked, locked.obstacle, nodes)
    wheels = {pin for layer in lock.layers for pin in layer.pins}
    counted = f"{_count(len(wheels), 'wheel')} in {_count(len(lock.layers), 'layer')}"
    counted += f", {_count(len(lock.images), 'image')} by digest"
    if is_written:
        yield Text(f"Locked in `{file.name}`: {counted}", "bold")
    elif is_dry:
        yield Text(f"`{file.name}` would have {counted}; nothing was written", "bold")
    else:
        yield Text(f"`{file.name}` is up to date: {counted}", "bold")


def _left(what: str, layer: LockedLayer | UnlockedLayer, why: str, nodes: Sequence[EnvironmentNode]) -> Iterator[Text]:
    """What a layer is instead of wheel layers, where one of these environments has it, with where it is written."""
    from rich.text import Text

    from flytebuild.spec.layers import LayerSpec
    from flytebuild.spec.model import ImageDefinition

    having = [node for node in nodes if node.name in layer.environments]
    if not having:
        return
    parts = (placed for node in having if isinstance(node.image, ImageDefinition) for placed in node.image.parts)
    written = (
        placed.origin for placed in parts if isinstance(placed.part, LayerSpec) and placed.part.summary == layer.asked
    )
    place = f" ({origin})" if (origin := next(written, "")) else ""
    names = ", ".join(f"`{node.name}`" for node in having)
    yield Text.assemble(f"  {what}: ", (f"`{layer.asked}`", "bold"), f"{place} of {names}: {why}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
