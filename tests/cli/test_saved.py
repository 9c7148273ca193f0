"""Where a plan is kept."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from flytebuild.cli.saved import write
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
