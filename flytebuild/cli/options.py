"""Options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

targets = click.option(
    "--for",
    "targets",
    multiple=True,
    metavar="NAME",
    help="A task or an environment: what it needs, and nothing else. May be given several times.",
)

platforms = click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="OS/ARCH",
    help="What to build for, instead of the engine's own platform. May be given several times; needs a registry then.",
)

progress = click.option(
    "--progress",
    type=click.Choice(("auto", "tty", "plain", "json")),
    help="How the build is shown: a line per image on a terminal (tty), plain lines, or JSON lines on stderr.",
)

stat_cache = click.option(
    "--no-stat-cache",
    "stat_cache",
    flag_value=False,
    default=None,
    type=bool,
    help="Read every file again, whether it seems to have changed or not.",
)

paths = click.argument(
    "paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PATH]...", default=None, required=False
)


def or_here(given: tuple[Path, ...]) -> tuple[Path, ...]:
    """The paths given, or the current folder."""
    return given or (Path("."),)
