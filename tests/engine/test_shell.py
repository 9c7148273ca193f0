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
    secrets=[flyte.Secret("token", as_env_var="TOKEN"), flyte.Secret("missing", as_env_var="MISSING")],
)
other = flyte.TaskEnvironment(name="other", image=flyte.Image.from_base("ghcr.io/acme/nothere:1"))
env.depends_on.append(other)
"""
NAMES = ("MARK", "OF", "TOKEN", "MISSING")
SAID = f"import os, beside, sys; print(beside.VALUE, *map(os.environ.get, {NAMES})); sys.exit(int(input()))"


def test_a_command_finds_the_code_and_the_variables_and_ends_as_it_ends(workspace: Workspace) -> None:
    workspace.write({"main.py": SOURCE, "beside.py": "VALUE = 'the code beside'\n"})
    (workspace.folder / "token.txt").write_text("of my own")
    secret = ("--secret", "token=file:token.txt")
    command = [str(BIN / "flytebuild"), "shell", *secret, "--in", "main.py", "env", "--", "python", "-c", SAID]
    done = subprocess.run(
        command, cwd=workspace.folder, env=workspace.environ, input="7\n", capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (7, "the code beside of the environment image of my own None\n"), (
        done.stderr
    )
    assert "note: the shell is without the secret `missing`: there is none; set the variable `MISSING`" in done.stderr
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
