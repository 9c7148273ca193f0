"""A control plane that starts anew has none of the code that the SDK remembers to have uploaded."""

import shutil
from pathlib import Path

import pytest

from tests.engine.conftest import Workspace
from tests.engine.test_run import run_document

pytestmark = pytest.mark.engine

SCRIPT = """
import flyte
from fold.run import fold_env


@fold_env.task
def twice(x: int) -> int:
    return 2 * x


if __name__ == "__main__":
    flyte.init_from_config()
    started = flyte.run(twice, x=4)
    print(started.url)
    started.wait()
"""
REMEMBERED = "Code bundle found in cache"


def test_python_and_flyte_run(workspace: Workspace, tmp_path: Path) -> None:
    workspace.write({"double.py": SCRIPT})
    workspace.flytebuild("up")

    def check(*, is_remembered: bool) -> None:
        done = workspace.run("python", "double.py")
        assert done.returncode == 0, done.stdout + done.stderr
        assert run_document(done.stdout.split()[-1])["phase"] == "SUCCEEDED"
        assert (REMEMBERED in done.stderr) is is_remembered

    check(is_remembered=False)
    check(is_remembered=True)
    forget_home(workspace, tmp_path)
    check(is_remembered=False)
    check(is_remembered=True)

    forget_home(workspace, tmp_path)
    done = workspace.run("flyte", "run", "--follow", "double.py", "twice", "--x", "4", COLUMNS="300")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Execution failed" not in done.stdout + done.stderr


def test_flytebuild_run(workspace: Workspace, tmp_path: Path) -> None:
    workspace.write({"double.py": SCRIPT})
    # The SDK keeps its memory beside this file, which outlives the control plane's folder.
    workspace.flytebuild("up")
    for _ in range(2):
        assert workspace.flytebuild("run", "double.py", "twice", "--x", "4").stdout == "8\n"
    forget_home(workspace, tmp_path)
    assert workspace.flytebuild("run", "double.py", "twice", "--x", "4").stdout == "8\n"


def forget_home(workspace: Workspace, tmp_path: Path) -> None:
    workspace.flytebuild("down")
    shutil.rmtree(tmp_path / "home")
