"""Digests of files that were read before, for as long as `lstat` gives no reason to doubt them.

A row is trusted if device, inode, size, modification and change time are all equal. That is safe because of what is
never written: a row of a file that was modified or changed less than two seconds before it was read, or after, by the
clock at that time, since within a clock's tick another change leaves no trace; and a row of a file whose change time
has no fraction of a second, since such a file system keeps whole seconds only, which a clock that is set back can
repeat. When the clock is seen to have gone back since the last write, all rows are forgotten.

What `lstat` never shows, this cache cannot know: a write through a shared memory mapping may come with no new time.

The file may be lost, broken, read-only or in use at any moment: then files are read again, a `Notice` says so, and
nothing fails.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import time
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

from msgspec import Struct, field

from flytebuild.database import transaction
from flytebuild.events import Emit, ignore
from flytebuild.spare_database import Layout, SpareDatabase

SCHEMA = 1
"""Raised with the meaning of a row; other schemas are forgotten."""

TRUST_AFTER_NS = 2_000_000_000
"""How old a file's times must be: the coarsest clock that file systems have (FAT's modification times)."""

KEPT_DAYS = 30
"""Rows that were not used for this long are dropped."""

_TOUCH_DAYS = 7
_BUSY_SECONDS = 2.0
_SECOND_NS = 1_000_000_000
_DAY_NS = 86_400 * _SECOND_NS
_STAMP = struct.Struct("=QQQqq")
_CHECK = struct.Struct("=I")

_TABLES = (
    "DROP TABLE IF EXISTS files",
    "DROP TABLE IF EXISTS facts",
    "CREATE TABLE files (path BLOB PRIMARY KEY, value BLOB NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    f"PRAGMA user_version = {SCHEMA}",
)
_LAYOUT = Layout(SCHEMA, _TABLES, "SELECT count(*) FROM facts")
_SET_WRITTEN = """
INSERT INTO facts VALUES ('written', ?) ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)
"""


def stamp(status: os.stat_result) -> bytes:
    """What has to be equal for a file to count as unchanged."""
    return _STAMP.pack(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class KnownFiles(Struct):
    """The rows below one folder, as they were at `started` (nanoseconds of the clock, taken before any file is read).

    `digest` answers from them; `learn` notes what was read since, for `StatCache.remember`.
    """

    folder: bytes = b""
    started: int = 0
    values: dict[bytes, bytes] = field(default_factory=dict)
    aging: frozenset[bytes] = frozenset()
    learned: dict[bytes, bytes] = field(default_factory=dict)
    used: list[bytes] = field(default_factory=list)

    def digest(self, path: bytes, stamp: bytes) -> bytes | None:
        """The digest of a file by its path relative to the folder, if it is known to be unchanged."""
        value = self.values.get(path)
        if value is None or not value.startswith(stamp) or value != self._value(path, value[:-4]):
            return None
        if path in self.aging:
            self.used.append(path)
        return value[len(stamp) : -4]

    def learn(self, path: bytes, stamp: bytes, digest: bytes) -> None:
        """Note what was read, unless another change might go unseen. `stamp` was equal before and after."""
        *_, mtime, ctime = _STAMP.unpack(stamp)
        if max(mtime, ctime) + TRUST_AFTER_NS < self.started and ctime % _SECOND_NS:
            self.learned[path] = self._value(path, stamp + digest)

    def _value(self, path: bytes, content: bytes) -> bytes:
        """A row's value; its check finds what a broken disk, or a row in the wrong place, would make of it."""
        return content + _CHECK.pack(crc32(content, crc32(self.folder + path)))


class StatCache(SpareDatabase):
    """A stat cache in one SQLite file, for any number of threads and processes. `StatCache.open` never fails."""

    def __init__(self, path: Path, emit: Emit, clock: Callable[[], int]) -> None:
        super().__init__(path, emit, subject="the stat cache", cost="so files are read again", put_away=_remove)
        self._clock = clock

    @classmethod
    def open(cls, path: Path, *, emit: Emit = ignore, clock: Callable[[], int] = time.time_ns) -> StatCache:
        """The cache at `path`, made where there is none; without a usable file it knows nothing and keeps nothing.

        `clock` gives nanoseconds since the epoch, the clock that stamps the files.
        """
        cache = cls(path, emit, clock)
        cache.connect(_LAYOUT, _BUSY_SECONDS)
        return cache

    def known(self, folder: bytes, *, only: bytes = b"") -> KnownFiles:
        """What is known of the files below an absolute folder, or of `only` one of them.

        To be asked before any of them is looked at.
        """
        prefix = folder.rstrip(b"/") + b"/"
        with self._guarded() as database:
            if database:
                written = _fact(database, "written")
                # Asked after `written` was read: a later time was written by nobody, unless the clock went back.
                started = self._clock()
                if started < written:
                    _forget(database, started)
                return _below(database, prefix, only, started)
        return KnownFiles(prefix, self._clock())

    def remember(self, known: KnownFiles) -> None:
        """Write what was learned, and drop what has not been used for long."""
        with self._guarded() as database:
            if database:
                day = self._clock() // _DAY_NS
                is_due = _fact(database, "pruned") != day
                if known.learned or known.used or is_due:
                    with transaction(database):
                        _write(database, known, day)
                        if is_due:
                            _prune(database, day)
                        # Taken last: whoever reads this has a later time, or a clock that went back.
                        database.execute(_SET_WRITTEN, (self._clock(),))


def _fact(database: sqlite3.Connection, name: str) -> int:
    query = "SELECT CAST(coalesce(max(value), 0) AS INTEGER) FROM facts WHERE name = ?"
    return int(database.execute(query, (name,)).fetchone()[0])


def _below(database: sqlite3.Connection, prefix: bytes, only: bytes, started: int) -> KnownFiles:
    relative = f"substr(path, {len(prefix) + 1})"
    where = "FROM files WHERE path >= ? AND path < ? AND typeof(value) = 'blob'"
    # `0` is what comes after `/`; nothing comes between a path and the path with a NUL after it.
    bounds = (prefix + only, prefix + only + b"\0" if only else prefix[:-1] + b"0")
    values = dict(database.execute(f"SELECT {relative}, value {where}", bounds))
    limit = started // _DAY_NS - _TOUCH_DAYS
    aging = database.execute(f"SELECT {relative} {where} AND used < ?", (*bounds, limit))
    return KnownFiles(prefix, started, values, frozenset(path for (path,) in aging))


def _write(database: sqlite3.Connection, known: KnownFiles, day: int) -> None:
    rows = ((known.folder + path, value, day) for path, value in known.learned.items())
    database.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", rows)
    used = ((day, known.folder + path) for path in known.used)
    database.executemany("UPDATE files SET used = ? WHERE path = ?", used)


def _prune(database: sqlite3.Connection, day: int) -> None:
    # Days to come were written by a clock that was ahead.
    database.execute("DELETE FROM files WHERE used NOT BETWEEN ? AND ?", (day - KEPT_DAYS, day + 1))
    database.execute("INSERT OR REPLACE INTO facts VALUES ('pruned', ?)", (day,))


def _forget(database: sqlite3.Connection, now: int) -> None:
    with transaction(database):
        database.execute("DELETE FROM files")
        database.execute("INSERT OR REPLACE INTO facts VALUES ('written', ?)", (now,))


def _remove(path: Path) -> str:
    for suffix in ("-wal", "-shm", ""):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return ""
