"""Commands in documents and examples exist, and take the options that are given there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from flytebuild.cli.main import cli
from tests.cli.test_check import MAIN
from tests.conftest import TOP
from tests.words.project import project
from tests.words.test_help import COMMANDS

WORKFLOW = TOP / "examples" / "github-actions" / "images.yml"
HOOKS = TOP / ".pre-commit-hooks.yaml"
_BLOCK = re.compile(r"^```(?:console|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_ENDS = ("|", "&&", ">", ">>", "#", "||", ";")


def commands(line: str) -> Iterator[list[str]]:
    """The arguments of every `flytebuild` in a line of shell."""
    words = shlex.split(line, comments=True)
    for start, word in enumerate(words):
        if word == "flytebuild" and (not start or words[start - 1] in ("$", *_ENDS)):
            rest = words[start + 1 :]
            stop = next((place for place, item in enumerate(rest) if item.startswith(_ENDS)), len(rest))
            yield rest[:stop]


def parse(arguments: list[str]) -> None:
    """Let the command line read a command, and not run it. Raises what it says of one that it does not know."""
    name: str | None = "flytebuild"
    command: click.Command | None = cli
    context: click.Context | None = None
    while isinstance(command, click.Group) and arguments:
        context = click.Context(command, info_name=name, parent=context, **command.context_settings)
        name, command, arguments = command.resolve_command(context, arguments)
    assert command is not None
    command.make_context(name, arguments, parent=context)


DOCUMENTS = {
    str(file.relative_to(TOP)): [
        arguments
        for block in _BLOCK.findall(file.read_text())
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith(("$ ", "flytebuild "))
        for arguments in commands(line.removeprefix("$ "))
    ]
    for file in (TOP / "README.md", *sorted((TOP / "docs").glob("*.md")))
}


@pytest.mark.parametrize("name", [name for name, found in DOCUMENTS.items() if found])
def test_commands_in_documents(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click.Path, "convert", lambda _self, value, *_: Path(value))
    for arguments in DOCUMENTS[name]:
        parse(arguments)


def test_examples_in_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click.Path, "convert", lambda _self, value, *_: Path(value))
    found = [
        arguments
        for name, command in COMMANDS.items()
        for line in (command.help or "").splitlines()
        if "flytebuild " in line and line.startswith("  ")
        for arguments in commands(re.sub(r"  +", "  # ", line.strip(), count=1))
    ]
    assert len(found) > len(COMMANDS)
    for arguments in found:
        parse(arguments)


def steps() -> dict[str, dict[str, str]]:
    """The steps of the workflow that run something, by their names."""
    found = yaml.safe_load(WORKFLOW.read_text())["jobs"]["images"]["steps"]
    return {step["name"]: step for step in found if "run" in step}


def test_commands_of_the_workflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click.Path, "convert", lambda _self, value, *_: Path(value))
    found = [item for step in steps().values() for line in step["run"].splitlines() for item in commands(line.strip())]
    assert [item[0] for item in found] == ["check", "plan", "build"]
    for arguments in found:
        parse(arguments)


def test_the_plan_of_the_workflow(tmp_path: Path) -> None:
    """Its step as a runner runs it: with changes, with mistakes, and what it leaves for the next step."""
    with project(tmp_path / "checkout" / "workflows") as found:
        environ = {
            **os.environ,
            **found.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "XDG_STATE_HOME": str(tmp_path / "state"),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "RUNNER_TEMP": str(tmp_path),
            "GITHUB_OUTPUT": str(tmp_path / "output"),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        }

        def plan() -> int:
            command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", steps()["Plan"]["run"]]
            return subprocess.run(command, cwd=tmp_path / "checkout", env=environ, timeout=300).returncode

        assert plan() == 0
        assert (tmp_path / "output").read_text() == "changes=yes\n"
        assert (tmp_path / "summary.md").read_text().startswith("### 4 images, 2 to build\n")
        assert (tmp_path / "plan.json").is_file()
        (found.folder / "main.py").write_text("import flyte\nraise ValueError\n")
        assert plan() == 65
        assert (tmp_path / "output").read_text() == "changes=yes\n"


def test_hooks_of_pre_commit(tmp_path: Path) -> None:
    """The manifest is one, and a hook finds what its command finds."""
    pre_commit = str(Path(sys.executable).parent / "pre-commit")
    git = ("git", "-c", "user.name=me", "-c", "user.email=me@example.com")
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        "PRE_COMMIT_HOME": str(tmp_path / "home"),
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
        )

    assert run(pre_commit, "validate-manifest", str(HOOKS)).returncode == 0
    # Installed where the test is, and not anew.
    hooks = [{**hook, "language": "system"} for hook in yaml.safe_load(HOOKS.read_text())]
    config = {"repos": [{"repo": "local", "hooks": hooks}]}
    (tmp_path / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / ".gitignore").write_text("home\ncache\n")
    (tmp_path / "main.py").write_text(MAIN.format(variables=""))
    assert run(*git, "init", "--quiet").returncode == 0
    assert run(*git, "add", ".").returncode == 0
    done = run(pre_commit, "run", "flytebuild-check", "--all-files", "--color=never")
    assert done.returncode == 1, done.stdout
    assert "- hook id: flytebuild-check\n- exit code: 65\n" in done.stdout
    assert "2 environments, 1 error" in done.stdout
