"""Asking the real uv, without any index."""

import subprocess
from pathlib import Path

import pytest

from flytebuild.wheels.uv import Target, _program


@pytest.mark.parametrize(
    ("minor", "told"), [(12, "2_17"), (17, "2_17"), (27, "2_17"), (36, "2_36"), (41, "2_40"), (99, "2_40")]
)
def test_uv_is_told_the_newest_glibc_that_it_knows(minor: int, told: str) -> None:
    assert Target("3.13", "x86_64", (2, minor)).arguments[-1] == f"x86_64-manylinux_{told}"


@pytest.mark.parametrize("target", [Target("3.13", "x86_64", (2, 41)), Target("3.11", "aarch64", (2, 28))])
def test_uv_knows_what_it_is_told(target: Target, tmp_path: Path) -> None:
    (tmp_path / "nothing.in").touch()
    command = (_program(), "pip", "compile", "--no-config", "--offline", "nothing.in", *target.arguments)
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
