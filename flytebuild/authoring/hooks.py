"""Doing something before `flyte run` and `flyte deploy` do theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import flyte
import rich_click as click

Before = Callable[[Iterable[flyte.Environment], str], None]


def before_leaves(command: click.Command, act: Before, *, without_packages: str = "") -> click.Command:
    """Make every command below `command` that runs a task or deploys an environment call `act` first.

    `act` gets the environments that the command starts from, and its copy style: how code comes into the containers.
    Commands about other things are left alone. `without_packages` is the hint for code that cannot be imported since
    it needs a package that is not installed here.
    """
    if isinstance(command, click.Group):
        _wrap_group(command, act, without_packages)
    else:
        _wrap_leaf(command, act)
    return command


def _wrap_group(group: click.Group, act: Before, without_packages: str) -> None:
    get_command, list_commands = group.get_command, group.list_commands

    def wrapped(ctx: click.Context, cmd_name: str) -> click.Command | None:
        with _hinting(without_packages):
            found = get_command(ctx, cmd_name)
        return before_leaves(found, act, without_packages=without_packages) if found is not None else None

    def listed(ctx: click.Context) -> list[str]:
        with _hinting(without_packages):
            return list_commands(ctx)

    group.get_command = wrapped  # type: ignore[method-assign]
    group.list_commands = listed  # type: ignore[method-assign]


@contextmanager
def _hinting(hint: str) -> Iterator[None]:
    """Put a hint to what the SDK says of a user's file that it cannot import for want of a package."""
    try:
        yield
    except click.ClickException as error:
        if not hint or not isinstance(error.__cause__, ModuleNotFoundError):
            raise
        raise click.ClickException(f"{error.message}\n\nhint: {hint}") from error.__cause__


def _wrap_leaf(command: click.Command, act: Before) -> None:
    environment = _environment_of(command)
    options = getattr(command, "run_args", None) or getattr(command, "deploy_args", None)
    if environment is None or getattr(options, "local", False) or getattr(options, "dry_run", False):
        return
    invoke = command.invoke

    def wrapped(ctx: click.Context) -> Any:
        act([environment], getattr(options, "copy_style", ""))
        return invoke(ctx)

    command.invoke = wrapped  # type: ignore[method-assign]


def _environment_of(command: click.Command) -> flyte.Environment | None:
    """`flyte run`'s leaf carries a task, `flyte deploy`'s an environment."""
    environment = getattr(command, "env", None)
    if isinstance(environment, flyte.Environment):
        return environment
    task = getattr(command, "obj", None)
    parent = getattr(task, "parent_env", None)
    found = parent() if callable(parent) else None
    return found if isinstance(found, flyte.Environment) else None
