"""Where a plan is kept."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from flytebuild.cli.saved import find, write
from flytebuild.config import Config
from flytebuild.plan import Plan

NOTHING = Plan((), ())


def test_a_file_has_the_mode_that_others_have(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    write(tmp_path / "plan.json", NOTHING, Config(), [tmp_path], [])
    assert (tmp_path / "plan.json").stat().st_mode == (tmp_path / "other").stat().st_mode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "plan.json"]


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write(pipe, NOTHING, Config(), [tmp_path], [])
    reader.join(10)
    assert pipe.is_fifo()
    assert json.loads(read[0])["schema"].startswith("flytebuild.")


def test_the_lock_is_kept_as_the_file_sees_it(tmp_path: Path) -> None:
    (tmp_path / "other.lock").touch()
    (tmp_path / "plans").mkdir()
    file = tmp_path / "plans" / "plan.json"
    write(file, NOTHING, Config(lock=tmp_path / "other.lock"), [tmp_path], [])
    assert json.loads(file.read_text())["lock"] == "../other.lock"
    moved = tmp_path.rename(tmp_path.with_name("moved")) / "plans" / "plan.json"
    found = find([moved])
    assert found is not None
    assert Path(found.flags["lock"]).samefile(moved.parents[1] / "other.lock")
    (moved.parents[1] / "other.lock").unlink()
    assert found.flags["lock"] is None


def test_a_plan_without_a_lock_says_so(tmp_path: Path) -> None:
    write(tmp_path / "plan.json", NOTHING, Config(lock=tmp_path / "flytebuild.lock"), [tmp_path], [])
    assert json.loads((tmp_path / "plan.json").read_text())["lock"] is None
