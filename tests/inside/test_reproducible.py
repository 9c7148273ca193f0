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


INSTALLER = """
import sys
from pathlib import Path

site = Path(sys.argv[1]) / "lib/python3.11/site-packages"
name = sys.argv[-1] if "--reinstall-package" in sys.argv else "all"
with open(site / "calls", "a") as calls:
    calls.write(name + " ")
if name == sys.argv[2]:
    sys.exit(3)
"""


def contested(folder: Path, requirements: str) -> tuple[Path, Path]:
    """An environment in which packages have files in common, and what was to be installed there."""
    site = folder / "venv/lib/python3.11/site-packages"
    for package, record in {
        "alpha-1": "common.py,sha256=1,1\nsame.py,sha256=3,1\n",
        "Be_ta-1": "common.py,sha256=2,1\n",
        "gamma-1": "same.py,sha256=3,1\n",
        "delta-1": "unsaid.py,,\n",
        "epsilon-1": '"unsaid.py",,\n',
    }.items():
        (site / f"{package}.dist-info").mkdir(parents=True)
        (site / f"{package}.dist-info/RECORD").write_text(record)
    file = folder / "pins.txt"
    file.write_text("".join(f"{line}==1 --hash=sha256:0\n" for line in requirements.split()))
    return site, file


def installed(folder: Path, site: Path, file: Path, failing: str = "") -> tuple[int, str]:
    """How it ends, and what was asked of the installer."""
    command = (sys.executable, "-c", INSTALLER, str(folder / "venv"), failing, "--requirement", str(file))
    return run(folder / "venv", *command).returncode, (site / "calls").read_text()


def test_packages_with_a_file_in_common_are_installed_once_more_in_their_order(tmp_path: Path) -> None:
    site, file = contested(tmp_path, "gamma epsilon be-ta alpha delta")
    assert installed(tmp_path, site, file) == (0, "all epsilon be-ta alpha delta ")


def test_a_failure_ends_it(tmp_path: Path) -> None:
    site, file = contested(tmp_path, "alpha be-ta delta epsilon")
    assert installed(tmp_path, site, file, "be-ta") == (3, "all alpha be-ta ")
    (site / "calls").unlink()
    assert installed(tmp_path, site, file, "all") == (3, "all ")
