"""Inputs that are on this machine only reach the tasks of a run."""

import json
from pathlib import Path

import pytest

from tests.engine.conftest import Workspace

pytestmark = pytest.mark.engine

TASKS = """
from dataclasses import dataclass

from flyte.io import Dir, File

from fold.run import fold_env


async def text(file: File) -> str:
    async with file.open("rb") as stream:
        return bytes(await stream.read()).decode()


@dataclass
class Bag:
    label: str
    file: File


@fold_env.task
async def gather(folder: Dir, file: File, bag: Bag, other: File | None = None, count: int = 1) -> list[str]:
    found = {item.name: await text(item) async for item in folder.walk()}
    return [*sorted(found), *found.values(), await text(file), await text(bag.file), await text(other) if other else ""]
"""


def test_files_and_folders_of_this_machine(workspace: Workspace, tmp_path: Path) -> None:
    workspace.write({"gather.py": TASKS, "data/inner file.txt": "in the folder", "one.txt": "one", "two.txt": "two"})
    elsewhere = tmp_path / "three ä, 3.txt"
    elsewhere.write_text("three")
    bag = json.dumps({"label": "x", "file": "two.txt"})
    arguments = ["gather.py", "gather", "--folder", "data", "--file", "one.txt", "--bag", bag]
    done = workspace.flytebuild("run", *arguments, "--other", str(elsewhere))
    assert json.loads(done.stdout) == ["inner file.txt", "in the folder", "one", "two", "three"]

    assert json.loads(workspace.flytebuild("run", *arguments).stdout)[-1] == ""
    missing = workspace.flytebuild("run", *arguments[:-3], "nowhere.txt", *arguments[-2:], code=64)
    assert "nowhere.txt" in missing.stderr
    assert missing.stdout == ""
