"""The data folder: ours, usable, and held by one control plane at a time.

The folder's lock is a POSIX record lock, since for that kind the kernel tells which process holds it. So whoever wants
to end the control plane need not believe a number in a file, which may have become a stranger's.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from flytebuild.errors import ControlPlaneError, UsageError

LOCK_FILE = "lock"
MARKER = "flytebuild-home"
"""The file that makes a folder ours, with what tells it from all others: its path may be another machine's as well."""

OBJECTS = "objects"
"""The folder of the embedded object store in it."""

_FLOCK = "qqihh" if sys.platform == "darwin" else "hhqqi"
"""`struct flock`: type, whence, start, length, process; Apple has the first two at the end."""


class Holder(Struct, frozen=True):
    """The process that holds a folder, and the port that it serves.

    `pid` is 0 or less where the process cannot be seen from here (another container, another machine), `port` is
    None until the process has written it down.
    """

    pid: int
    port: int | None


def make(home: Path) -> str:
    """Create the folder, for its owner only, if it is not there; returns what tells it from all others.

    Raises UsageError where it cannot be used, or holds files that are not ours: we remove old ones in our folder.
    """
    with usable(home):
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(None, "it is not writable")
        marker = home / MARKER
        if not marker.exists():
            if not all(map(_is_start, os.listdir(home))) and not marker.exists():
                raise _unusable(home, "it holds files of somebody else")
            _write_once(marker, secrets.token_hex(16))
        return marker.read_text(encoding="ascii").strip()


def _is_start(name: str) -> bool:
    """Whether another command that starts at this moment may have made it."""
    return name.endswith("lock") or name.startswith((".", MARKER))


def _write_once(path: Path, content: str) -> None:
    """Make a file with its content in one step, unless somebody else was first."""
    part = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    part.write_text(content, encoding="ascii")
    try:
        os.link(part, path)
    except FileExistsError:
        pass
    finally:
        part.unlink()


@contextlib.contextmanager
def usable(home: Path) -> Iterator[None]:
    """Turn the system's refusals inside the block into a UsageError that names the folder."""
    try:
        yield
    except (FileExistsError, NotADirectoryError) as error:
        raise _unusable(home, "it is, or lies below, a file") from error
    except OSError as error:
        raise _unusable(home, error.strerror or str(error)) from error


@contextlib.contextmanager
def hold(home: Path, port: int) -> Iterator[None]:
    """Hold the folder while the block runs; ControlPlaneError when another process does."""
    with contextlib.ExitStack() as stack:
        with usable(home):
            file = stack.enter_context((home / LOCK_FILE).open("a+", encoding="utf-8"))
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            other = holder(home)
            where = f", on port {other.port}" if other and other.port else ""
            raise ControlPlaneError(
                f"A control plane of `{home}` runs already{where}", hint="`flytebuild down` stops it"
            ) from error
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "port": port}))
        file.flush()
        yield


def holder(home: Path) -> Holder | None:
    """Who holds the folder now, by the kernel's word; None when nobody does."""
    with usable(home):
        try:
            file = (home / LOCK_FILE).open("rb")
        except FileNotFoundError:
            return None
        with file:
            kind, pid = _conflicting(file.fileno())
            if kind == fcntl.F_UNLCK:
                return None
            try:
                document = json.loads(file.read())
            except ValueError:
                document = {}
    port = document.get("port") if isinstance(document, dict) else None
    return Holder(pid, port if isinstance(port, int) else None)


def _conflicting(descriptor: int) -> tuple[int, int]:
    """The kind and the process of a lock that keeps us from an exclusive one; `F_UNLCK` when there is none."""
    if sys.platform == "darwin":
        answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, struct.pack(_FLOCK, 0, 0, 0, fcntl.F_WRLCK, os.SEEK_SET))
        _, _, pid, kind, _ = struct.unpack(_FLOCK, answer)
    else:
        answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        kind, _, _, _, pid = struct.unpack(_FLOCK, answer)
    return kind, pid


def _unusable(home: Path, reason: str) -> UsageError:
    return UsageError(
        f"The folder `{home}` cannot hold the control plane's data: {reason}",
        hint="`FLYTEBUILD_HOME`, or `home` in the configuration, names that folder",
    )
