"""Doing something before `flyte run` and `flyte deploy` do theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import flyte
import rich_click as click

Before = Callable[[Iterable[flyte.Environment], str], None]


def before_leaves(command: click.Command, act: Before) -> click.Command:
    """Make every command below `command` that runs a task or deploys an environment call `act` first.

    `act` gets the environments that the command starts from, and its copy style: how code comes into the containers.
    Commands about other things are left alone.
    """
    if isinstance(command, click.Group):
        _wrap_group(command, act)
    else:
        _wrap_leaf(command, act)
    return command


def _wrap_group(group: click.Group, act: Before) -> None:
    get_command = group.get_command

    def wrapped(ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = get_command(ctx, cmd_name)
        return before_leaves(found, act) if found is not None else None

    group.get_command = wrapped  # type: ignore[method-assign]


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
