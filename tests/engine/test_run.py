"""The example in containers: the same workflow started in all three ways, each task in its own image."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.engine.conftest import Workspace

pytestmark = pytest.mark.engine

SEQUENCE = "AAGGTTCCAA"


def run_document(url: str) -> dict[str, Any]:
    """What the control plane knows of the run whose page is `url`, once it has ended."""
    base, _, name = url.partition("/v2/")
    name = name.rpartition("/")[2]
    with httpx.Client(timeout=30) as http:
        for _ in range(600):
            document: dict[str, Any] = http.get(f"{base}/api/runs/{name}").json()
            if document["phase"] not in ("QUEUED", "WAITING_FOR_RESOURCES", "INITIALIZING", "RUNNING"):
                return document
            # Ask again when the server has something to say; it answers at once, and each question yields to it.
            http.get(f"{base}/healthz")
    raise AssertionError(f"the run did not end: {document}")


def check_example(document: dict[str, Any], plan: dict[str, Any]) -> None:
    assert document["phase"] == "SUCCEEDED"
    assert list(document["outputs"].values()) == [[SEQUENCE, SEQUENCE]]
    actions = {action["task"]: action for action in document["actions"]}
    assert set(actions) == {"multi_env.main", "msa_env.run_msa", "fold_env.run_fold"}
    images = {item["name"]: item["image"] for item in plan["environments"]}
    assert {action["environment"]: action["image"] for action in actions.values()} == images
    assert len({action["image_id"] for action in actions.values()}) == 3
    assert len({action["container"] for action in actions.values()}) == 3


def test_flytebuild_run(workspace: Workspace) -> None:
    done = workspace.flytebuild("run", "main.py", "main", "--sequence", SEQUENCE)
    assert json.loads(done.stdout) == [SEQUENCE, SEQUENCE]
    (url,) = re.findall(r"http://\S+/runs/\S+", done.stderr.splitlines()[next_index(done.stderr)])
    check_example(run_document(url), workspace.plan("--for", "main"))
    page = httpx.get(url)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    for text in ("multi_env", "msa_env", "run_msa", "fold_env", "run_fold", "running alphafold2", "succeeded"):
        assert text in page.text.lower()
    again = workspace.flytebuild("run", "--json", "main.py", "main", "--sequence", SEQUENCE)
    assert "3 images, nothing to build" in again.stderr
    check_example(json.loads(again.stdout), workspace.plan("--for", "main"))


def next_index(text: str) -> int:
    return next(number for number, line in enumerate(text.splitlines()) if line.startswith("Run "))


def test_flyte_run_and_python_main_py_find_everything_by_flyte_s_own_configuration(workspace: Workspace) -> None:
    workspace.flytebuild("up")
    assert (workspace.folder / ".flyte" / "config.yaml").exists()
    # Started on demand from here on: the configuration is all that is left.
    workspace.flytebuild("down")

    script = workspace.run("python", "main.py")
    assert script.returncode == 0, script.stderr
    url = script.stdout.split()[-1]
    plan = workspace.plan("--for", "main")
    assert {image["status"] for image in plan["images"]} == {"present"}
    check_example(run_document(url), plan)

    done = workspace.run("flyte", "run", "--follow", "main.py", "main", "--sequence", SEQUENCE, COLUMNS="300")
    assert done.returncode == 0, done.stderr
    assert "nothing to build" in done.stderr
    (url,) = set(re.findall(r"http://[\w.:/-]+/runs/\w+", done.stdout))
    check_example(run_document(url), plan)


def test_each_task_sees_its_own_image_in_its_own_container(workspace: Workspace) -> None:
    probe = Path(__file__).with_name("isolation.py").read_text()
    workspace.write({"isolation.py": probe})
    done = workspace.flytebuild("run", "isolation.py", "compare")
    seen = json.loads(done.stdout)
    main, msa = seen["main"], seen["msa"]
    assert main == {"ruff": True, "pytest": True, "host": main["host"]}
    assert msa == {"ruff": False, "pytest": True, "host": msa["host"]}
    assert main["host"] != msa["host"]


def test_a_task_that_fails_is_told_in_one_sentence_with_the_task_s_own_error(workspace: Workspace) -> None:
    workspace.write(
        {
            "failing.py": (
                "from fold.run import fold_env\n\n\n"
                "@fold_env.task\n"
                "def fail(x: int) -> int:\n"
                "    raise ValueError(f'no fold for {x}')\n"
            )
        }
    )
    failed = workspace.flytebuild("run", "failing.py", "fail", "--x", "7", code=1)
    assert "no fold for 7" in failed.stderr
    assert "`fold_env.fail`" in failed.stderr
    assert "hint: its logs are at http://127.0.0.1" in failed.stderr
    assert "Traceback" not in failed.stderr.partition("error:")[2]


def test_bad_input_to_run(workspace: Workspace) -> None:
    assert "did you mean `main`?" in workspace.flytebuild("run", "main.py", "man", code=64).stderr
    assert "--sequence" in workspace.flytebuild("run", "main.py", "main", code=64).stderr
    assert "--sequence" in workspace.flytebuild("run", "main.py", "main", "--help").stdout
    workspace.write({"broken.py": "import flyte\nimport nowhere\n"})
    broken = workspace.flytebuild("run", "broken.py", "main", code=65)
    assert "import nowhere" in broken.stderr
    assert "flytebuild/" not in broken.stderr
