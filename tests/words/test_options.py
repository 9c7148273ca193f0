"""Options of one name mean one thing, wherever they are; documents and exit codes are those that are documented."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest

from flytebuild import errors
from flytebuild.cli import main, plan, signals
from flytebuild.errors import FlytebuildError
from tests.conftest import TOP
from tests.schemas import FOLDER
from tests.words.test_help import COMMANDS

SETTINGS = {"--platform", "--secret", "--lock", "--locked", "--no-wheel-layers", "--no-stat-cache", "--strict-imports"}
"""What decides which images a command means."""

LACKS = {
    "plan": set[str](),
    "build": set[str](),
    "graph": set[str](),
    "size": set[str](),
    "prune": set[str](),
    "explain": set[str](),
    "diff": {"--platform"},  # of which one is compared: an option of its own
    "check": {"--platform"},
    "run": {"--platform"},
    "shell": {"--platform"},
    "lock": {"--locked", "--no-wheel-layers"},
}
JSON = [name for name, command in COMMANDS.items() if any("--json" in item.opts for item in command.params)]


def options(name: str) -> dict[str, click.Option]:
    """The options of a command, by their long names."""
    found = [item for item in COMMANDS[f"flytebuild {name}"].params if isinstance(item, click.Option)]
    return {flag: item for item in found for flag in item.opts if flag.startswith("--")}


@pytest.mark.parametrize("name", LACKS)
def test_all_that_look_at_images_take_what_decides_which(name: str) -> None:
    told = {flag: option.help for flag, option in options(name).items() if flag in SETTINGS - LACKS[name]}
    expected = {flag: option.help for flag, option in options("plan").items() if flag in SETTINGS - LACKS[name]}
    assert told == expected


def test_options_of_one_name_are_given_in_one_way() -> None:
    """A switch is one everywhere, and so is what may be given several times."""
    ways: dict[str, set[tuple[bool, bool]]] = {}
    for name in COMMANDS:
        if name != "flytebuild":
            for flag, option in options(name.removeprefix("flytebuild ")).items():
                ways.setdefault(flag, set()).add((option.is_flag, option.multiple))
    several = {flag for flag, found in ways.items() if len(found) > 1}
    assert several == {"--platform"}, "but for `diff`, which compares one"


@pytest.mark.parametrize("name", JSON)
def test_each_document_has_a_schema_and_is_documented(name: str) -> None:
    told = options(name.removeprefix("flytebuild "))["--json"].help or ""
    schema = re.search(r"`flytebuild\.([a-z-]+)/(\d)`", told)
    assert schema, told
    assert (FOLDER / f"{schema[1]}-{schema[2]}.json").is_file()
    rows = [line for line in (TOP / "docs/json.md").read_text().splitlines() if line.startswith(f"| `{name} --json` |")]
    assert len(rows) == 1
    assert f"flytebuild.{schema[1]}/{schema[2]}" in rows[0]


def classes(kind: type[FlytebuildError]) -> Iterator[type[FlytebuildError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from classes(below)


def test_the_exit_codes_are_those_of_the_readme() -> None:
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", _section("Exit codes"), re.MULTILINE)}
    of_errors = {kind.exit_code for kind in classes(FlytebuildError)} | {errors.MAY_PASS, main.USAGE}
    of_ends = {0, plan.CHANGES, main.READER_GONE, signals.INTERRUPTED, signals.TERMINATED}
    assert documented == of_errors | of_ends


def _section(title: str) -> str:
    """A part of the README."""
    return (TOP / "README.md").read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]
