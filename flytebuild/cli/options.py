"""Options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

from flytebuild.cli import completion

targets = click.option(
    "--for",
    "targets",
    multiple=True,
    metavar="NAME",
    shell_complete=completion.targets,
    help="A task, an environment, a pattern or `module:name`: what it needs, no more. May be given several times.",
)

platforms = click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="OS/ARCH",
    shell_complete=completion.platforms,
    help="What to build for, instead of the engine's own platform. May be given several times; needs a registry then.",
)

progress = click.option(
    "--progress",
    type=click.Choice(("auto", "tty", "plain", "json")),
    help="How the build is shown: a line per image on a terminal (tty), plain lines, or JSON lines on stderr.",
)


def _secret_sources(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> dict[str, str] | None:
    # What is no `NAME=…` may be a value, and is not repeated.
    if not all(item.partition("=")[0] and "=" in item for item in given):
        raise click.BadParameter(
            "write it as NAME=env:VARIABLE, NAME=env-file:PATH, NAME=file:PATH, NAME=keyring:SERVICE or "
            "NAME=command:PROGRAM"
        )
    pairs = [item.partition("=") for item in given]
    return {name: where for name, _, where in pairs} or None


secrets = click.option(
    "--secret",
    "secrets",
    multiple=True,
    metavar="NAME=SOURCE",
    callback=_secret_sources,
    help="Where a secret of build steps is taken from: `env:VARIABLE`, `env-file:PATH`, `file:PATH`, "
    "`keyring:SERVICE`, or `command:PROGRAM`, which prints it. May be given several times.",
)

stat_cache = click.option(
    "--no-stat-cache",
    "stat_cache",
    flag_value=False,
    default=None,
    type=bool,
    help="Read every file again, whether it seems to have changed or not.",
)

strict_imports = click.option(
    "--strict-imports",
    is_flag=True,
    default=None,
    help="Fail where the code imports what is not installed here, instead of standing in for it.",
)

lock = click.option(
    "--lock",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The lock, where it is not `flytebuild.lock` beside the project's configuration.",
)

locked = click.option(
    "--locked",
    is_flag=True,
    default=None,
    help="Exit with 65 where the lock does not have everything that is to be installed.",
)

wheel_layers = click.option(
    "--no-wheel-layers",
    "wheel_layers",
    flag_value="off",
    default=None,
    help="Install packages that are locked step by step, and not as layers that images share.",
)

paths = click.argument(
    "paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PATH]...", default=None, required=False
)

inside = click.option(
    "--in",
    "paths",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="PATH",
    help="The file or folder with the code; the current folder without it. May be given several times.",
)


def or_here(given: tuple[Path, ...]) -> tuple[Path, ...]:
    """The paths given, or the current folder."""
    return given or (Path("."),)
