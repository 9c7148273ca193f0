"""`flyte plan` and `flyte check`: our commands in Flyte's own tool."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.cli.test_check import MAIN

FLYTE = Path(sys.executable).parent / "flyte"


def test_commands_exit_codes_and_errors_are_ours(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(MAIN.format(variables=""))
    environ = os.environ | {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(FLYTE), *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120)

    checked = run("check", "--json")
    assert (checked.returncode, json.loads(checked.stdout)["schema"]) == (65, "flytebuild.check/1")
    planned = run("plan", "--json", "--platform", "linux/amd64")
    assert (planned.returncode, json.loads(planned.stdout)["schema"]) == (0, "flytebuild.plan/1")
    unknown = run("plan", "--for", "nothing")
    assert unknown.returncode == 64
    assert "error: No task or environment is called `nothing`" in unknown.stderr
    assert "flyte check --for train" in run("check", "--help").stdout


def test_a_run_that_lacks_a_package_is_told_what_needs_none(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import nowhere_to_be_found\n")

    def told(*arguments: str) -> str:
        done = subprocess.run([str(FLYTE), *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert "nowhere_to_be_found" in done.stderr
        return done.stderr

    hint = "hint: `flytebuild run` needs no package here that only tasks use"
    assert told("run", "main.py", "main").count(hint) == 1
    assert told("run", "main.py").count(hint) == 1
    assert hint not in told("deploy", "main.py", "env")
