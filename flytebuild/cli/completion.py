"""What a shell offers after Tab where click does not know it by itself. What cannot be found out is not offered."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

import click

from flytebuild.errors import FlytebuildError


def targets(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The environments and tasks of the code that the words before name, or of the current folder's."""
    from flytebuild.authoring.loader import load
    from flytebuild.cli.options import or_here

    try:
        with _silence():
            names = load(or_here(context.params.get("paths") or ()), stand_in=True).names
    except FlytebuildError:
        return []
    return _beginning(incomplete, names)


def platforms(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """What images may be built for."""
    from flytebuild.config import PLATFORMS

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


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


@contextmanager
def _silence() -> Iterator[None]:
    """What modules print while they are loaded would stand in the line that is being typed."""
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nothing, redirect_stderr(nothing):
        try:
            # Commands that they call write to the descriptor.
            os.dup2(nothing.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
