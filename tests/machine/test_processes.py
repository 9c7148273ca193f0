"""Processes: told apart from later ones of the same number, and ended when a command is given up."""

from __future__ import annotations

import os
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.machine.processes import Children, Process
from scripts.machine.report import MachineError


def test_a_process_is_itself_only() -> None:
    me = Process.of(os.getpid())
    assert me
    assert me.is_running()
    assert not replace(me, started=me.started + 1).is_running()
    assert not replace(me, boot="another").is_running()


def test_stop_spares_a_stranger_with_the_same_number() -> None:
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        known = Process.of(stranger.pid)
        assert known
        replace(known, started=known.started - 1).stop(patience=0)
        assert stranger.poll() is None
        known.stop(patience=5)
        assert stranger.wait(5) != 0
    finally:
        stranger.kill()
        stranger.wait()


def test_a_failing_command_says_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="`sh` ended with exit code 3: no space left"):
        Children().run(["sh", "-c", "echo no space left >&2; exit 3"], log=tmp_path / "log")


def test_cancel_ends_what_runs_and_starts_no_more(tmp_path: Path) -> None:
    children = Children()
    threading.Timer(0.2, children.cancel).start()
    with pytest.raises(MachineError, match="Interrupted"):
        children.run(["sleep", "60"], log=tmp_path / "log")
    with pytest.raises(MachineError, match="Interrupted"):
        children.run(["true"], log=tmp_path / "log")
