"""A run on a real engine whose store has no room left."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from flytebuild.runtime import client
from flytebuild.runtime.process import End
from tests.conftest import Machine
from tests.runtime.driver import Driver, configured

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk: `sudo make test`"),
]


def test_a_task_whose_files_find_no_room_fails_and_says_why(machine: Machine, small_disk: Path) -> None:
    config = configured(machine, small_disk)
    driver = Driver(config, client.ensure(config))
    try:
        said, document = driver.run("values.hoard")
        assert said == {"phase": "failed"}
        (action,) = document["actions"]
        assert "The disk that objects are kept on" in action["error"]["message"]
        # What was on its way when the container ended is given up, and nothing of it stays.
        deadline = time.monotonic() + 60
        while any((small_disk / "objects/.work").iterdir()):
            assert time.monotonic() < deadline, "something half written is left"
            time.sleep(0.1)
        for path in (small_disk / "objects/flytebuild/runs").rglob("*"):
            assert path.is_dir() or path.suffix == ".pb" or path.stat().st_size in (1 << 20, 1 << 16, 1 << 12)

        make_room(small_disk)
        said, _ = driver.run("values.keep", {"size": 1 << 20})
        assert said == {"phase": "succeeded", "outputs": [1 << 20]}
    finally:
        assert client.stop(config) is End.STOPPED


def make_room(home: Path) -> None:
    """Remove what the task wrote before the store was full."""
    for path in (home / "objects/flytebuild/runs").rglob("*"):
        if path.is_file() and path.stat().st_size == 1 << 20:
            path.unlink()
