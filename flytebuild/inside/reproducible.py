"""Runs in the container that makes a wheel layer: a command, and then what makes its traces the same every time.

`python reproducible.py TIME FOLDER COMMAND [ARGUMENT …]` runs the command. In FOLDER it then removes what uv notes for
itself: its lock, and the times of the files that wheels came from. All that is newer than TIME (seconds since 1970),
FOLDER included, gets that time. It needs nothing but the standard library of Python 3.8.
"""

from __future__ import annotations

import os
import subprocess
import sys

LOCK = ".lock"
NOTE = "uv_cache.json"


def main() -> int:
    time, folder, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    code = subprocess.call(command)
    if code:
        # A process that a signal ended has no code of its own; shells count from here.
        return code if code > 0 else 128 - code
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
