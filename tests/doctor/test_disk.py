from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from flytebuild.doctor.disk import examine_disk
from tests.buildkit.doors import unix_listener


def info(folder: Path) -> dict[str, object]:
    return {"DockerRootDir": str(folder), "Name": socket.gethostname(), "KernelVersion": os.uname().release}


def test_the_folder_of_an_engine_that_listens_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with unix_listener(tmp_path / "engine.sock"):
        url = f"unix://{tmp_path}/engine.sock"
        free = 7_000_000_000
        monkeypatch.setattr(shutil, "disk_usage", lambda place: type("Usage", (), {"free": free}))
        assert examine_disk(url, info(tmp_path)).message.startswith("7.0 GB are free")
        free = 400_000_000
        check = examine_disk(url, info(tmp_path))
        assert (check.status, check.message[:16]) == ("warning", "400.0 MB are fre")
        assert "docker system prune" in check.hint


def test_an_engine_elsewhere_is_not_guessed_at(tmp_path: Path) -> None:
    assert examine_disk("tcp://far:2375", info(tmp_path)).status == "unknown"
    other = {**info(tmp_path), "Name": "another-machine"}
    assert examine_disk(f"unix://{tmp_path}/engine.sock", other).status == "unknown"
    assert examine_disk(f"unix://{tmp_path}/engine.sock", {}).status == "unknown"
    gone = info(tmp_path / "nothing")
    assert examine_disk(f"unix://{tmp_path}/engine.sock", gone).status == "unknown"
