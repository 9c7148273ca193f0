"""What every command says of one small project, as text and as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from tests.cli.calls import Call, Told, each
from tests.schemas import FOLDER, validated
from tests.snapshot import Mask, Snapshots
from tests.words.project import project

COMMANDS = {
    "plan": "plan",
    "plan-verbose": "plan --verbose",
    "plan-unchanged": "plan --for clean",
    "plan-for-main": "plan --for main --exit-code",
    "plan-markdown": "plan --format markdown",
    "check": "check",
    "explain": "explain prepare",
    "diff": "diff train",
    "diff-two": "diff prepare main_env --exit-code",
    "size": "size",
    "size-budget": "size --budget 50MB",
    "prune": "prune",
    "build-dry-run": "build --for main --dry-run",
    "graph-dot": "graph",
    "graph-mermaid": "graph --format mermaid",
    "status": "status",
    "runs-list": "runs list",
    "runs-prune": "runs prune --keep 0",
    "run-tasks": "run main.py --help",
}
DOCUMENTS = {
    "plan": ("plan --json", 0),
    "check": ("check --json", 65),
    "explain": ("explain prepare --json", 0),
    "diff": ("diff train --json", 0),
    "size": ("size --budget 50MB --json", 1),
    "leftovers": ("prune --json", 0),
    "graph": ("graph --json", 0),
    "build": ("build --dry-run --json", 0),
    "status": ("status --json", 1),
    "down": ("down --json", 0),
    "runs": ("runs list --json", 0),
    "prune": ("runs prune --keep 0 --json", 0),
}


@dataclass(frozen=True)
class Shown:
    """What the commands said, by their words, and names for what is not the same everywhere."""

    told: dict[str, Told]
    mask: Mask
    kept: str


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """The commands one after the other, as a user gives them who has just come to the project."""
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("words")
    with project(folder / "project") as found:
        words = [*COMMANDS.values(), *(command for command, _ in DOCUMENTS.values()), "plan -o ../kept.json"]
        told = each([Call(found.folder, command.split(), found.environ) for command in words], home)
    mask = Mask(found.known | {str(home): "/home/me"})
    return Shown(dict(zip(words, told, strict=True)), mask, (folder / "kept.json").read_text())


@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_command_says(name: str, shown: Shown, snapshots: Snapshots) -> None:
    snapshots.compare(f"project/{name}.txt", shown.mask.over(shown.told[COMMANDS[name]].transcript))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_a_command_prints_as_json(name: str, shown: Shown, snapshots: Snapshots) -> None:
    command, code = DOCUMENTS[name]
    told = shown.told[command]
    assert told.code == code, told.err
    assert validated(told.out)["schema"] == f"flytebuild.{name}/1"
    snapshots.compare(f"project/{name}.json", shown.mask.over(told.out))


def test_a_plan_that_is_kept(shown: Shown) -> None:
    assert validated(shown.kept)["schema"] == "flytebuild.saved-plan/1"


def test_every_schema_is_documented() -> None:
    told = "".join(file.read_text() for file in FOLDER.parent.glob("*.md"))
    for file in FOLDER.iterdir():
        assert json.loads(file.read_text())["title"] in told


def test_there_is_no_other(snapshots: Snapshots) -> None:
    snapshots.are_exactly("project", {f"{name}.txt" for name in COMMANDS} | {f"{name}.json" for name in DOCUMENTS})
