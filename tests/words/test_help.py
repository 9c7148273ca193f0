"""`--help` of every command."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from flytebuild.cli.main import cli
from tests.snapshot import Snapshots


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command, with the words that lead to it."""
    yield path, group
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = {" ".join(("flytebuild", *path)): command for path, command in commands(cli)}


def file_of(name: str) -> str:
    return f"{name.replace(' ', '-')}.txt"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command(name: str, snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    arguments = name.split()[1:]
    shown = CliRunner().invoke(cli, [*arguments, "--help"], prog_name="flytebuild")
    assert shown.exit_code == 0
    snapshots.compare(f"help/{file_of(name)}", shown.stdout)
    monkeypatch.setenv("COLUMNS", "300")
    assert "  Examples:\n    flytebuild " in CliRunner().invoke(cli, [*arguments, "--help"]).stdout


def test_there_is_no_other(snapshots: Snapshots) -> None:
    snapshots.are_exactly("help", set(map(file_of, COMMANDS)))


@pytest.mark.parametrize("name", COMMANDS)
def test_words_of_options_are_sentences(name: str) -> None:
    for option in COMMANDS[name].params:
        if isinstance(option, click.Option):
            assert option.help, option
            assert option.help.endswith("."), option.help
