"""A command in an environment's image, between pipes and at a terminal."""

from __future__ import annotations

import os
import pty
import subprocess

import pytest

from tests.engine.conftest import BIN, Workspace, shells

pytestmark = pytest.mark.engine

SOURCE = """
import flyte

import beside

env = flyte.TaskEnvironment(
    name="env",
    image=flyte.Image.from_debian_base(python_version=(3, 11), name="shell").with_env_vars({"OF": "image"}),
    env_vars={"MARK": "of the environment"},
)
other = flyte.TaskEnvironment(name="other", image=flyte.Image.from_base("ghcr.io/acme/nothere:1"))
env.depends_on.append(other)
"""
SAID = "import os, beside, sys; print(beside.VALUE, os.environ['MARK'], os.environ['OF']); sys.exit(int(input()))"


def test_a_command_finds_the_code_and_the_variables_and_ends_as_it_ends(workspace: Workspace) -> None:
    workspace.write({"main.py": SOURCE, "beside.py": "VALUE = 'the code beside'\n"})
    command = [str(BIN / "flytebuild"), "shell", "--in", "main.py", "env", "--", "python", "-c", SAID]
    done = subprocess.run(
        command, cwd=workspace.folder, env=workspace.environ, input="7\n", capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (7, "the code beside of the environment image\n"), done.stderr
    assert "env: built" in done.stderr

    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [str(BIN / "flytebuild"), "shell", "--in", "main.py", "env", "sh", "-c", "tty; read word; exit $word"],
        cwd=workspace.folder,
        env=workspace.environ,
        stdin=theirs,
        stdout=theirs,
    ) as process:
        os.close(theirs)
        assert b"/dev/pts/" in os.read(ours, 100)
        os.write(ours, b"9\n")
        assert process.wait(60) == 9
    os.close(ours)
    assert shells(workspace.registry) == []
