"""A clock that is set in the middle of a run, under a control plane on a real engine."""

from __future__ import annotations

import re
import subprocess
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from flytebuild.runtime import client
from flytebuild.runtime.clock import CLOCK, SteadyClock
from flytebuild.runtime.model import now
from flytebuild.runtime.process import End
from scripts.machine.debian import fetch, has_archive
from scripts.machine.processes import Children
from tests import plain
from tests.conftest import Machine
from tests.runtime.driver import Driver, configured

HOURS = 5


def test_only_what_passes_counts_until_it_is_set() -> None:
    sources = {"wall": 1000.0, "since": 5.0}
    clock = SteadyClock(lambda: sources["wall"], lambda: sources["since"])
    sources |= {"wall": 9000.0, "since": 7.0}
    assert clock.now().timestamp() == 1002.0
    clock.set()
    assert clock.now().timestamp() == 9000.0


def test_the_clock_on_the_wall_counts_while_nothing_is_under_way(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    later = timedelta(hours=HOURS).total_seconds()
    monkeypatch.setattr(CLOCK, "_offset", CLOCK._offset)
    monkeypatch.setattr(CLOCK, "_wall", lambda: time.time() + later)
    deadline = time.monotonic() + 30
    while now().timestamp() < time.time() + later / 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Wall:
    """The clock on the wall of processes that have `variables`, by Debian's libfaketime."""

    def __init__(self, folder: Path) -> None:
        (deb,) = fetch(["libfaketime"], folder, folder / "fetch.log", Children())
        subprocess.run(["dpkg-deb", "--extract", deb, folder / "root"], check=True)
        (library,) = (folder / "root").rglob("libfaketimeMT.so.1")
        self._file = folder / "wall"
        self.variables = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            # A clock that is set leaves this one alone.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.set(0)

    def set(self, hours: float) -> None:
        """Let it be so many hours from the real one."""
        part = self._file.with_suffix(".part")
        part.write_text(f"{hours * 3600:+.0f}\n")
        part.replace(self._file)


@pytest.fixture
def wall(tmp_path: Path) -> Wall:
    if not has_archive():
        pytest.fail("there is no libfaketime: it is taken from Debian's archive", pytrace=False)
    return Wall(tmp_path)


@pytest.mark.engine
def test_a_clock_that_is_set_changes_no_limit_and_no_duration(
    machine: Machine, wall: Wall, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(machine, tmp_path / "home")
    with monkeypatch.context() as patch:
        for name, value in wall.variables.items():
            patch.setenv(name, value)
        driver = Driver(config, client.ensure(config))
    try:
        for task, inputs, child, hours, output in (
            ("watch_a_nap", {"seconds": 3.0}, "nap", HOURS, "awake"),
            ("outlive", {}, "too_slow", -HOURS, "MaxRuntimeExceededError"),
        ):
            process, name = driver.begin(task, inputs)
            driver.until_running(name, f"flows.{child}")
            wall.set(hours)
            assert driver.end(process) == {"phase": "succeeded", "outputs": [output]}
            document = driver.document(name)
            for action in document["actions"]:
                took = datetime.fromisoformat(action["ended"]) - datetime.fromisoformat(action["started"])
                assert timedelta() < took < timedelta(minutes=10)
            told = re.search(r"<dt>Took</dt><dd>([^<]*)", plain.get(document["url"]).text)
            assert told is not None
            assert "h" not in told[1]
    finally:
        assert client.stop(config) is End.STOPPED
