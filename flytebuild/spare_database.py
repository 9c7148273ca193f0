"""A database that its owner can do without: nothing that goes wrong with the file stops anybody.

A file that is broken is put away and starts anew, one that cannot be used is done without, and a `Notice` says so.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from msgspec import Struct

from flytebuild.database import connect, is_broken, reason
from flytebuild.events import Emit, Notice

Self = TypeVar("Self", bound="SpareDatabase")


class Layout(Struct, frozen=True):
    """What a file holds: `tables` as `flytebuild.database.connect` takes them, and a query that finds them readable."""

    version: int
    tables: Sequence[str]
    probe: str


class SpareDatabase:
    """One SQLite file, for any number of threads; other processes may use it at once. No method fails by the file.

    `subject` is what it is called, and `cost` what it means that it cannot be used, in what is told (`the stat cache`,
    `so files are read again`). `put_away` takes a broken file out of the way and returns what is to be told of it, or
    raises OSError.
    """

    def __init__(self, path: Path, emit: Emit, *, subject: str, cost: str, put_away: Callable[[Path], str]) -> None:
        self._subject = f"{subject} `{path}`"
        self._cost = cost
        self._path = path
        self._emit = emit
        self._put_away = put_away
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None

    def connect(self, layout: Layout, patience: float) -> None:
        """Open the file, or make it; `patience` is for how many seconds others may hold it."""
        for is_last in (False, True):
            try:
                self._database = _probed(self._path, layout, patience)
                return
            except (sqlite3.Error, OSError) as error:
                if is_last or not self._is_renewed(error):
                    self._emit(Notice(f"{self._subject} cannot be used, {self._cost}: {reason(error)}"))
                    return

    def close(self) -> None:
        """Let go of the file; nothing is known from then on."""
        with self._lock:
            self._let_go()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[sqlite3.Connection | None]:
        """The database for one use by one thread, if there is one; trouble with it is told, and ends its use."""
        with self._lock:
            try:
                yield self._database
            except sqlite3.Error as error:
                self._let_go()
                if not self._is_renewed(error):
                    self._emit(Notice(f"{self._subject} cannot be used any more, {self._cost}: {reason(error)}"))

    def _is_renewed(self, error: Exception) -> bool:
        """Whether a broken file is out of the way, for whoever opens it next."""
        if not is_broken(error):
            return False
        try:
            told = self._put_away(self._path)
        except OSError:
            return False
        self._emit(Notice(f"{self._subject} was broken and starts anew{told}"))
        return True

    def _let_go(self) -> None:
        if self._database:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._database = None


def _probed(path: Path, layout: Layout, patience: float) -> sqlite3.Connection:
    database = connect(path, layout.version, layout.tables, patience)
    try:
        database.execute(layout.probe).fetchone()
    except BaseException:
        database.close()
        raise
    return database
