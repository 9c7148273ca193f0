"""SQLite files that any number of processes use at once: how they are opened, written, and found to be broken."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

_PAUSE_SECONDS = 0.02


def connect(path: Path, version: int, tables: Sequence[str], patience: float) -> sqlite3.Connection:
    """The database in a file, made where there is none, for one thread at a time; transactions are the caller's.

    `tables` are the statements that make it anew where it is not of this version, the last of which says the version;
    `patience` is for how many seconds others may hold the file. Raises sqlite3.Error and OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    database = sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=False)
    try:
        _write_ahead(database, patience)
        database.execute("PRAGMA synchronous = NORMAL")
        if not _is_current(database, version):
            with transaction(database):
                # Somebody else may have made the tables meanwhile.
                if not _is_current(database, version):
                    for statement in tables:
                        database.execute(statement)
    except BaseException:
        database.close()
        raise
    return database


@contextlib.contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All that is written within the block, or nothing."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        # A full disk has rolled back already.
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def is_broken(error: Exception) -> bool:
    """Whether a file's content is at fault, and not its place, its permissions or another process."""
    if isinstance(error, sqlite3.OperationalError):
        return "no such" in str(error)
    return isinstance(error, sqlite3.DatabaseError)


def reason(error: Exception) -> str:
    """Why a database cannot be used, for the end of a sentence."""
    if isinstance(error, OSError) and error.strerror:
        return f"`{error.filename}`: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _write_ahead(database: sqlite3.Connection, patience: float) -> None:
    """Have a write-ahead log. Whoever finds somebody else at it is told so at once, whatever the timeout."""
    deadline = time.monotonic() + patience
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_SECONDS)


def _is_current(database: sqlite3.Connection, version: int) -> bool:
    return bool(database.execute("PRAGMA user_version").fetchone() == (version,))
