"""The script that wheel layers are made with, run as it is run there: what it takes away, and what it leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from flytebuild.inside import reproducible, text_of

TIME = 946_684_800


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-I", "-S", "-c", text_of("reproducible"), str(TIME), str(folder), *command]
    return subprocess.run(arguments, capture_output=True, text=True, check=False)


def environment(folder: Path) -> Path:
    """A virtual environment with a package as uv leaves it."""
    info = folder / "lib/a-1.dist-info"
    info.mkdir(parents=True)
    (folder / "pyvenv.cfg").write_text("")
    (folder / reproducible.LOCK).write_text("")
    (info / reproducible.NOTE).write_text('{"timestamp": 1}')
    (info / "RECORD").write_bytes(
        b"a.py,sha256=x,1\r\na-1.dist-info/uv_cache.json,sha256=y,2\r\na-1.dist-info/RECORD,,\r\n"
    )
    return info


def test_what_uv_notes_for_itself_is_gone_and_no_record_of_it_stays(tmp_path: Path) -> None:
    info = environment(tmp_path / "venv")
    assert run(tmp_path / "venv", "true").returncode == 0
    assert not (tmp_path / "venv" / reproducible.LOCK).exists()
    assert not (info / reproducible.NOTE).exists()
    assert (info / "RECORD").read_bytes() == b"a.py,sha256=x,1\r\na-1.dist-info/RECORD,,\r\n"


def test_only_an_environment_has_a_lock_of_uv(tmp_path: Path) -> None:
    (tmp_path / "venv/data").mkdir(parents=True)
    (tmp_path / "venv/data" / reproducible.LOCK).write_text("of a package")
    assert run(tmp_path / "venv", "true").returncode == 0
    assert (tmp_path / "venv/data" / reproducible.LOCK).read_text() == "of a package"


def test_everything_that_is_newer_gets_the_time_and_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("")
    place = tmp_path / "venv"
    (place / "deep").mkdir(parents=True)
    old = place / "deep/old"
    old.write_text("")
    os.utime(old, (TIME - 5, TIME - 5))
    before = outside.stat().st_mtime
    assert run(place, "sh", "-c", f"touch {place}/deep/new && ln -s {outside} {place}/link").returncode == 0
    times = {str(path.relative_to(tmp_path)): path.lstat().st_mtime for path in (place, *place.rglob("*"))}
    assert times.pop("venv/deep/old") == TIME - 5
    assert times == dict.fromkeys(["venv", "venv/deep", "venv/deep/new", "venv/link"], TIME)
    assert outside.stat().st_mtime == before


def test_a_command_that_fails_ends_it_with_its_code(tmp_path: Path) -> None:
    assert run(tmp_path, "sh", "-c", "exit 3").returncode == 3
    assert run(tmp_path, "sh", "-c", "kill -9 $$").returncode == 137
