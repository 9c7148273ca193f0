"""`flytebuild check --in-image`, in real containers."""

from __future__ import annotations

import json

import pytest

from tests.engine.conftest import Workspace, shells

pytestmark = pytest.mark.engine

MAIN = """
import flyte
from tool import there, tool_env

env = flyte.TaskEnvironment(
    name="env",
    depends_on=[tool_env],
    image=flyte.Image.from_debian_base(python_version=(3, 11), name="check").with_env_vars({"A": "1"}),
)

gone = flyte.TaskEnvironment(name="gone", image="ghcr.io/acme/nothere:1")

@gone.task
def nowhere(x: int) -> int:
    return x

@env.task
def main(x: int) -> int:
    import packaging, hypothesis
    return there(x)
"""
TOOL = """
import flyte
import iniconfig

tool_env = flyte.TaskEnvironment(
    name="tool",
    image=flyte.Image.from_debian_base(python_version=(3, 11), name="check").with_pip_packages("iniconfig==2.0.0"),
)

@tool_env.task
def there(x: int) -> int:
    raise AssertionError("no task runs")
"""


def test_modules_are_imported_where_they_will_be(workspace: Workspace) -> None:
    workspace.write({"main.py": MAIN, "tool.py": TOOL})
    done = workspace.flytebuild("check", "--in-image", "--json", "main.py", code=65)
    found = [item for item in json.loads(done.stdout)["findings"] if item["level"] != "advice"]
    assert [(item["rule"], item["level"], item["environment"]) for item in found] == [
        ("import-fails", "error", "env"),
        ("missing-package", "error", "env"),
        ("import-fails", "unknown", "gone"),
        ("missing-package", "unknown", "gone"),
    ]
    failed, lazy, pulled, _ = found
    assert "`gone`" in pulled["message"]
    assert "nothere" in pulled["message"]
    assert (failed["file"], failed["line"]) == ("tool.py", 3)
    assert failed["message"].endswith("No module named 'iniconfig'; that of `tool` has it")
    assert 'with_pip_packages("iniconfig==2.0.0")' in failed["hint"]
    assert failed["details"].splitlines()[-1].strip() == "import iniconfig"
    assert lazy["message"] == "The image of `env` lacks `hypothesis`: it was looked for there"
    assert shells(workspace.registry) == []

    mended = MAIN.replace('.with_env_vars({"A": "1"})', '.with_pip_packages("iniconfig==2.0.0")')
    workspace.write({"main.py": mended.replace(", hypothesis", "")})
    workspace.flytebuild("check", "--in-image", "--for", "env", "main.py")
