"""The file that points Flyte's SDK at the control plane, and places where it cannot be."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flytebuild.errors import OutputError, UsageError
from flytebuild.runtime import flyte_config

ENDPOINT = "http://127.0.0.1:8199"


def test_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / ".flyte/config.yaml"
    flyte_config.check(path)
    assert not path.parent.exists()
    flyte_config.write(ENDPOINT, path)
    text = path.read_text()
    assert "endpoint: dns:///127.0.0.1:8199" in text
    assert "builder: flytebuild" in text
    flyte_config.check(path)
    flyte_config.write("http://127.0.0.1:9000", path)
    assert "9000" in path.read_text()
    assert {item.name: item.read_text() for item in path.parent.iterdir() if item != path} == {".gitignore": "*\n"}


def test_a_folder_of_the_users_keeps_its_rules(tmp_path: Path) -> None:
    flyte_config.write(ENDPOINT, tmp_path / "config.yaml")
    assert [item.name for item in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize("act", [flyte_config.check, lambda path: flyte_config.write(ENDPOINT, path)])
def test_a_file_of_the_users_is_left_alone(tmp_path: Path, act: Callable[[Path], None]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("admin: {}\n")
    with pytest.raises(UsageError, match="was not written by flytebuild"):
        act(path)
    assert path.read_text() == "admin: {}\n"


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda folder: (folder / ".flyte").touch(), "is not a folder"),
        (lambda folder: (folder / ".flyte").symlink_to("nowhere"), "is not a folder"),
        (lambda folder: (folder / ".flyte/config.yaml").mkdir(parents=True), "Is a directory"),
    ],
)
def test_places_where_no_file_can_be(tmp_path: Path, make: Callable[[Path], None], why: str) -> None:
    make(tmp_path)
    path = tmp_path / ".flyte/config.yaml"
    with pytest.raises(OutputError, match=why) as caught:
        flyte_config.check(path)
    assert str(caught.value).startswith(f"`{path}` cannot be written: ")
    assert "--no-config" in str(caught.value.hint)
    with pytest.raises(OutputError, match="cannot be written"):
        flyte_config.write(ENDPOINT, path)


@pytest.mark.parametrize("place", [".", ".flyte"])
def test_a_folder_that_is_not_writable(tmp_path: Path, place: str) -> None:
    """In a process where root may do no more than others."""
    program = """
import ctypes, sys
from pathlib import Path
from flytebuild.errors import OutputError
from flytebuild.runtime import flyte_config
ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)())
for act in (flyte_config.check, lambda path: flyte_config.write("http://127.0.0.1:1", path)):
    try:
        act(Path(".flyte/config.yaml"))
    except OutputError as error:
        print(error.message)
"""
    (tmp_path / place).mkdir(exist_ok=True)
    (tmp_path / place).chmod(0o500)
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    (tmp_path / place).chmod(0o700)
    assert done.stdout.splitlines() == [
        f"`.flyte/config.yaml` cannot be written: nothing can be made in `{(tmp_path / place).absolute()}`",
        "`.flyte/config.yaml` cannot be written: Permission denied",
    ]
