"""What a shell offers after Tab where click does not know it by itself. What cannot be found out is not offered."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click


def targets(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The environments and tasks of the code that the words before name, or of the current folder; it is not run."""
    from flytebuild.authoring.glance import names
    from flytebuild.cli.here import or_here
    from flytebuild.errors import UsageError

    # An option that still lacks its value keeps click from telling arguments apart.
    paths = context.params.get("paths") or tuple(Path(word) for word in context.args if Path(word).exists())
    try:
        return _beginning(incomplete, names(or_here(paths)))
    except UsageError:
        return []


def platforms(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """What images may be built for."""
    from flytebuild.config_values import PLATFORMS

    return _beginning(incomplete, PLATFORMS)


def outputs(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """What `--output` may write; once that is said, the folders that there are."""
    from flytebuild.build.output import KINDS

    kind, colon, place = incomplete.partition(":")
    if not colon:
        return [f"{item}:" for item in _beginning(kind, KINDS)]
    above = Path(place) if place.endswith("/") or not place else Path(place).parent
    folders = sorted(f"{item}/" for item in above.glob("*") if item.is_dir())
    return _beginning(incomplete, [f"{kind}:{folder}" for folder in folders])


def locked(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The packages and images that the lock has, and that may move."""
    from flytebuild import config
    from flytebuild.errors import FlytebuildError
    from flytebuild.wheels import lockfile

    try:
        found = lockfile.read(config.load(Path.cwd(), lock=context.params.get("lock")).lock or Path(config.LOCK))
    except FlytebuildError:
        return []
    return _beginning(incomplete, sorted(found.names) if found else ())


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
