"""The data folder's lock, between real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flytebuild.errors import ControlPlaneError, UsageError
from flytebuild.runtime.home import LOCK_FILE, Holder, hold, holder, make

HOLD = """
import sys
from pathlib import Path
from flytebuild.runtime.home import hold
with hold(Path(sys.argv[1]), 8199):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(home: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the folder until it is killed or the block ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_one_process_per_folder(tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(ControlPlaneError, match="on port 8199"), hold(tmp_path, 8200):
        pass
    with hold(tmp_path, 8200):
        pass


def test_the_kernel_says_who_holds_it(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    with held(tmp_path) as process:
        assert holder(tmp_path) == Holder(process.pid, 8199)
        (tmp_path / LOCK_FILE).write_text('{"pid": 1, "port": 8199}')
        assert holder(tmp_path) == Holder(process.pid, 8199), "what the file says of the process counts for nothing"
        (tmp_path / LOCK_FILE).write_text("{")
        assert holder(tmp_path) == Holder(process.pid, None)
        process.kill()
        process.wait()
        assert holder(tmp_path) is None


def test_a_number_that_a_killed_process_left_is_nobody_s(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_text(f'{{"pid": {os.getpid()}, "port": 8199}}')
    assert holder(tmp_path) is None


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for home in (file, file / "below"):
        with pytest.raises(UsageError, match=f"`{home}` cannot hold .*: it is, or lies below, a file") as error:
            make(home)
        assert error.value.hint
        assert "FLYTEBUILD_HOME" in error.value.hint
        with pytest.raises(UsageError, match="below, a file"):
            holder(home)


def test_a_folder_that_is_not_ours(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)  # The superuser may write everywhere.
        with pytest.raises(UsageError, match=f"`{home}` cannot hold the control plane's data"):
            make(home)
    finally:
        os.seteuid(user)


def test_a_folder_is_ours_from_its_first_use_on_and_told_from_all_others(tmp_path: Path) -> None:
    one, other = make(tmp_path / "one"), make(tmp_path / "other")
    assert one != other
    (tmp_path / "one" / "logs").mkdir()
    assert make(tmp_path / "one") == one
    (tmp_path / "started").mkdir()
    (tmp_path / "started" / "start.lock").touch()
    assert make(tmp_path / "started")


def test_a_folder_with_files_of_somebody_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "logs" / "experiment").mkdir(parents=True)
    with pytest.raises(UsageError, match="it holds files of somebody else") as caught:
        make(tmp_path)
    assert caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]
