"""Options and arguments that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, TypeVar

import click

from flytebuild.cli import completion
from flytebuild.errors import UsageError

Command: TypeAlias = Callable[..., Any]
Option: TypeAlias = Callable[[Command], Command]

_Form = TypeVar("_Form", bound=str)

targets = click.option(
    "--for",
    "targets",
    multiple=True,
    metavar="NAME",
    shell_complete=completion.targets,
    help="What this task, environment, pattern or `module:name` needs, and no more. Repeatable.",
)

platforms = click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="OS/ARCH",
    shell_complete=completion.platforms,
    help="Images for this, instead of the engine's own platform. Repeatable with a registry.",
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
    help="Where a secret of build steps is: `env:VARIABLE`, `env-file:PATH`, `file:PATH`, `keyring:SERVICE`, or "
    "`command:PROGRAM`, which prints it. Repeatable.",
)

stat_cache = click.option(
    "--no-stat-cache",
    "stat_cache",
    flag_value=False,
    default=None,
    type=bool,
    help="Read every file again, also where it seems unchanged.",
)

strict_imports = click.option(
    "--strict-imports",
    is_flag=True,
    default=None,
    help="Fail where a module is not installed here, instead of standing in for it.",
)

lock = click.option(
    "--lock",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Another lock than the `flytebuild.lock` of the project.",
)

locked = click.option(
    "--locked",
    is_flag=True,
    default=None,
    help="Exit with 65 where something is not in the lock.",
)

wheel_layers = click.option(
    "--no-wheel-layers",
    "wheel_layers",
    flag_value="off",
    default=None,
    help="Install locked packages step by step, and not as layers that images share.",
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
    help="The file or folder with the code, instead of the current folder. Repeatable.",
)


_SETTINGS: Mapping[str, Option] = MappingProxyType(
    {
        "platforms": platforms,
        "secrets": secrets,
        "lock": lock,
        "locked": locked,
        "wheel_layers": wheel_layers,
        "stat_cache": stat_cache,
        "strict_imports": strict_imports,
    }
)
"""What decides which images a command means, by the names of the settings."""


def settings(*, without: Collection[str] = ()) -> Option:
    """Give a command that means images what decides which; it gets `flags`, as `config.load` takes them.

    All these commands take the same, so that what one has shown is what another does; `without` names what makes no
    sense for one.
    """
    chosen = {name: option for name, option in _SETTINGS.items() if name not in without}

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def called(*arguments: Any, **given: Any) -> Any:
            values = {name: given.pop(name) for name in chosen}
            # What may be given several times is empty where it is not.
            flags = {name: None if value == () else value for name, value in values.items()}
            return command(*arguments, flags=flags, **given)

        made: Command = called
        for option in reversed(chosen.values()):
            made = option(made)
        return made

    return decorate


def form(given: _Form | None, *, is_json: bool) -> _Form | Literal["json"] | None:
    """The form that is asked for by `--format`, or by `--json`. Raises UsageError where these are two."""
    if is_json and given not in (None, "json"):
        raise UsageError(f"`--json` and `--format {given}` ask for two forms", hint="give one of them")
    return "json" if is_json else given
