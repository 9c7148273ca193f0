"""Runs in the container that makes a wheel layer: a command, and then what makes its traces the same every time.

`python reproducible.py TIME FOLDER COMMAND [ARGUMENT …]` runs the command, whose temporary files are in FOLDER for as
long: from there uv links what it has unpacked to where it belongs, instead of copying gigabytes. In FOLDER it then
removes what uv notes for itself: its lock, and the times of the files that wheels came from. All that is newer than
TIME (seconds since 1970), FOLDER included, gets that time. It needs nothing but the standard library of Python 3.8.

uv installs packages at the same time, so of a file that several of them have it keeps any one's. Those packages are
installed once more, one after the other in the order of the command's requirements: the last one's file stays.
"""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
import tempfile
from glob import glob

LOCK = ".lock"
NOTE = "uv_cache.json"
REQUIREMENTS = "--requirement"


def main() -> int:
    time, folder, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    if code := _install(folder, command):
        return code
    for place, _, names in os.walk(folder):
        if LOCK in names and "pyvenv.cfg" in names:
            os.unlink(os.path.join(place, LOCK))
        if NOTE in names and place.endswith(".dist-info"):
            _forget(place, NOTE)
    for place, folders, names in os.walk(folder, topdown=False):
        for name in (*folders, *names):
            _set_time(os.path.join(place, name), time)
    _set_time(folder, time)
    return 0


def _install(folder: str, command: list[str]) -> int:
    with tempfile.TemporaryDirectory(dir=folder) as room:
        code = _call(command, room)
        for name in () if code else _rivals(folder, command):
            code = code or _call([*command, "--reinstall-package", name], room)
        return code


def _call(command: list[str], room: str) -> int:
    code = subprocess.call(command, env={**os.environ, "TMPDIR": room})
    # A process that a signal ended has no code of its own; shells count from here.
    return code if code >= 0 else 128 - code


def _rivals(folder: str, command: list[str]) -> list[str]:
    """The packages that have a file in common, of which each has another content, in the order of the requirements."""
    records = glob(os.path.join(folder, "lib/python*/site-packages/*.dist-info/RECORD"))
    if REQUIREMENTS not in command or len(records) < 2:
        return []
    owners: dict[str, dict[str, str]] = {}
    for record in records:
        package = _normal(os.path.basename(os.path.dirname(record)).partition("-")[0])
        with open(record, encoding="utf-8", newline="") as file:
            for path, digest, *_ in csv.reader(file):
                owners.setdefault(path, {})[package] = digest
    found = {
        package
        for digests in owners.values()
        if len(digests) > 1 and ("" in digests.values() or len(set(digests.values())) > 1)
        for package in digests
    }
    if not found:
        return []
    with open(command[command.index(REQUIREMENTS) + 1], encoding="utf-8") as file:
        return [name for name in (line.partition("==")[0] for line in file) if _normal(name) in found]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _forget(info: str, name: str) -> None:
    """Remove a file from a package's own folder and from the list of the package's files."""
    os.unlink(os.path.join(info, name))
    record = os.path.join(info, "RECORD")
    entry = f"{os.path.basename(info)}/{name},"
    with open(record, encoding="utf-8", newline="") as file:
        lines = [line for line in file if not line.startswith(entry)]
    with open(record, "w", encoding="utf-8", newline="") as file:
        file.writelines(lines)


def _set_time(path: str, time: int) -> None:
    # Only what changed: a file of the layer below would become one of this layer by it.
    if os.lstat(path).st_mtime > time:
        os.utime(path, (time, time), follow_symlinks=False)


if __name__ == "__main__":
    sys.exit(main())
