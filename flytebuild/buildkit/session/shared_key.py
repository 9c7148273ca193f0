"""The key under which a daemon keeps what sessions have sent it, as the base of their next transfers.

A transfer writes into what the last one left, and the daemon notes the digests of the new content only at its end. One
that dies in the middle has files on its disk of which it knows older digests: it would find them up to date from then
on, and take the result of a step for theirs that it has from the older content. So when a daemon goes away under a
session, nobody uses the session's key again, and everything is sent anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from pathlib import Path

_LENGTH = 32
_IN_USE = " in use"
"""Stands after the key while a session has it; found when nobody does, a process died that had it."""


class SharedKey:
    """A random key in a file, common to all of a user's sessions with one daemon; `take` it before one is opened.

    Where the file cannot be had there is a new key every time, and nothing is ever a base.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def take(self) -> str:
        """The key to open a session with."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return _new()
        is_alone = _lock(file, fcntl.LOCK_EX)
        if not is_alone and not _lock(file, fcntl.LOCK_SH):
            os.close(file)
            return _new()
        self._file = file
        key, is_in_use = _read(file)
        if is_alone:
            key = _new() if is_in_use or len(key) != _LENGTH else key
            _write(file, key + _IN_USE)
            _lock(file, fcntl.LOCK_SH)
        return key if len(key) == _LENGTH else _new()

    def spoil(self) -> None:
        """The daemon has gone away: no session that is opened from now on gets this key."""
        if self._file is not None:
            _write(self._file, _new() + _IN_USE)

    def give_back(self) -> None:
        """The session has ended, by our will or since the daemon has gone away."""
        if self._file is None:
            return
        if _lock(self._file, fcntl.LOCK_EX):
            _write(self._file, _read(self._file)[0])
        os.close(self._file)
        self._file = None


def _new() -> str:
    return secrets.token_hex(_LENGTH // 2)


def _lock(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _read(file: int) -> tuple[str, bool]:
    """The key that is there, and whether somebody has it or had it when they died."""
    key, *rest = os.pread(file, 256, 0).decode("ascii", "replace").split() or [""]
    return key, bool(rest)


def _write(file: int, text: str) -> None:
    with contextlib.suppress(OSError):
        # Of one length, so that no reader sees a part of it.
        os.pwrite(file, text.ljust(_LENGTH + len(_IN_USE)).encode(), 0)
        os.ftruncate(file, _LENGTH + len(_IN_USE))
