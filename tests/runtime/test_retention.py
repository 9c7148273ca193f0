from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from flytebuild.runtime.retention import KEEP_DAYS, expire

NOW = 2_000_000_000.0
OLD = NOW - KEEP_DAYS * 24 * 3600 - 1
YOUNG = NOW - KEEP_DAYS * 24 * 3600 + 60
RUNS = "objects/flytebuild/runs"


def put(home: Path, name: str, age: float) -> Path:
    """A file of an age, in folders that are old."""
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (age, age))
    for parent in path.relative_to(home).parents:
        os.utime(home / parent, (OLD, OLD))
    return path


def expired(home: Path) -> int:
    """How many folders were taken away, when they are gone."""
    count = expire(home, NOW)
    for thread in threading.enumerate():
        if thread.name == "expired":
            thread.join(20)
    return count


def test_what_nothing_has_touched_goes(tmp_path: Path) -> None:
    gone = [
        put(tmp_path, name, OLD)
        for name in (f"{RUNS}/r1/a0/1/outputs.pb", "logs/r1/a0/1.log", "objects/flytebuild/inputs/abc/inputs.pb")
    ]
    stays = [
        *(put(tmp_path, f"{RUNS}/r2/a0/1/{name}", age) for name, age in (("outputs.pb", OLD), ("data", YOUNG))),
        put(tmp_path, "objects/flytebuild/uploads/abc/code.tgz", OLD),
        put(tmp_path, "objects/flytebuild/mine/table", OLD),
        put(tmp_path, "objects/other/runs/r1/table", OLD),
        put(tmp_path, "credentials.json", OLD),
    ]
    assert expired(tmp_path) == 3
    assert [path for path in gone if path.exists()] == []
    assert [path for path in stays if not path.exists()] == []
    assert not (tmp_path / ".expired").exists()
    assert expired(tmp_path) == 0


def test_what_an_earlier_removal_left_goes_too(tmp_path: Path) -> None:
    put(tmp_path, ".expired/x/file", OLD)
    assert expired(tmp_path) == 0
    assert not (tmp_path / ".expired").exists()


@pytest.mark.parametrize("place", ["logs", "objects", "objects/flytebuild/runs"])
def test_nothing_outside_is_touched(tmp_path: Path, place: str) -> None:
    elsewhere, home = tmp_path / "elsewhere", tmp_path / "home"
    theirs = [put(elsewhere, name, OLD) for name in ("r1/a0/1.log", "flytebuild/runs/r1/x")]
    (home / place).parent.mkdir(parents=True)
    (home / place).symlink_to(elsewhere, target_is_directory=True)
    assert expired(home) == 0
    assert all(path.exists() for path in theirs)


def test_a_link_in_a_run_is_not_followed(tmp_path: Path) -> None:
    theirs = put(tmp_path / "elsewhere", "file", OLD)
    home = tmp_path / "home"
    link = put(home, "logs/r1/a0/1.log", OLD).with_name("link")
    link.symlink_to(theirs.parent, target_is_directory=True)
    os.utime(link, (OLD, OLD), follow_symlinks=False)
    os.utime(link.parent, (OLD, OLD))
    (home / "logs/direct").symlink_to(theirs.parent, target_is_directory=True)
    assert expired(home) == 1
    assert theirs.exists()
    assert (home / "logs/direct").exists()


def test_a_folder_that_cannot_be_looked_at_keeps_nobody_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = put(tmp_path, f"{RUNS}/r1/a0/1/outputs.pb", OLD)
    put(tmp_path, "logs/r1/a0/1.log", OLD)
    scandir = os.scandir

    def refusing(path: str | Path | int) -> object:
        if not isinstance(path, int) and Path(path) == tmp_path / "logs":
            raise PermissionError(13, "no", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert expired(tmp_path) == 1
    assert not gone.exists()
