"""The journal on disk: one SQLite file in the data folder, which survives the control plane being killed.

One process writes it, the one that holds the folder. A row is a run's or an action's whole state, attempts included.
The file is in WAL mode and not synchronised at every change: what a process has written stays when it dies, and only
a machine that loses its power can lose the last moments. A disk that is full costs nothing but durability: what could
not be written is kept in memory and written with the next change.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# Recorded messages are of these modules; they are found by name only once these are imported.
import flyteidl2.task.run_pb2
import flyteidl2.task.task_definition_pb2
import flyteidl2.workflow.run_definition_pb2  # noqa: F401
from google.protobuf.message import Message

from flytebuild.runtime.encoding import decode, encode, parse_message
from flytebuild.runtime.model import ROOT, Action, ActionKey, Run

log = logging.getLogger(__name__)

FILE_NAME = "runs.sqlite"
SCHEMA = 1
"""Raised with the meaning of a row; a file of another version is put aside."""

_BUSY_SECONDS = 10.0
_TABLES = (
    "CREATE TABLE runs (name TEXT PRIMARY KEY, seq INTEGER NOT NULL, folder TEXT NOT NULL, body TEXT NOT NULL)"
    " WITHOUT ROWID",
    "CREATE TABLE actions (run TEXT, name TEXT, seq INTEGER NOT NULL, is_over INTEGER NOT NULL, ended REAL,"
    " body TEXT NOT NULL, PRIMARY KEY (run, name)) WITHOUT ROWID",
    "CREATE INDEX unfinished ON actions (run) WHERE is_over = 0",
    "CREATE TABLE messages (digest TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE results (scope TEXT, key TEXT, outputs TEXT NOT NULL, folder TEXT NOT NULL, run TEXT NOT NULL,"
    " action TEXT NOT NULL, created REAL NOT NULL, PRIMARY KEY (scope, key)) WITHOUT ROWID",
    f"PRAGMA user_version = {SCHEMA}",
)


@dataclass(frozen=True, slots=True)
class Result:
    """Where the outputs of a task with a cache key are, and which action wrote them; `created` is in epoch seconds."""

    outputs: str
    folder: str
    run: str
    action: str
    created: float


@dataclass(frozen=True, slots=True)
class Ended:
    """A run of which nothing is under way: its name, the last part of its data's prefix, its end in epoch seconds."""

    name: str
    folder: str
    ended: float


class Database:
    """The journal, what it holds, and the table of results. `close` it at the end."""

    def __init__(self, path: Path, *, is_ours: bool = True) -> None:
        """Open the file, making it where it is not there; one that cannot be read is put aside, with a warning.

        Where it may be another process's, `is_ours` is false, and sqlite3.Error is raised instead.
        """
        self._path = path
        self._pending: dict[ActionKey | str, Action | Run] = {}
        self._kept: set[str] = set()
        self._has_failed = False
        self._version = self._looked_at = 0
        try:
            self._connection = _opened(path)
        except sqlite3.DatabaseError as error:
            if not is_ours:
                raise
            aside = path.with_name(f"{path.name}.{int(time.time())}")
            log.warning("`%s` cannot be used (%s); it is now `%s`, and its runs are not shown", path, error, aside.name)
            for suffix in ("", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
            self._connection = _opened(path)
        newest = "SELECT MAX(seq) FROM (SELECT MAX(seq) AS seq FROM runs UNION ALL SELECT MAX(seq) FROM actions)"
        self._order = itertools.count((self._connection.execute(newest).fetchone()[0] or 0) + 1)

    def close(self) -> None:
        """Write what is left and let go of the file."""
        self._flush()
        self._connection.close()

    # Journal

    def record_run(self, run: Run) -> None:
        """Keep a run; its actions follow."""
        self._pending[run.name] = run
        # Written together with the root: a run without one is none.

    def record_action(self, action: Action) -> None:
        """Keep an action's state in place of the one before."""
        self._pending[action.key] = action
        self._flush()

    # Archive

    def load(self, run: str) -> tuple[Action, ...]:
        """All actions of a run in the order of their creation."""
        self._flush()
        rows = self._connection.execute("SELECT body FROM actions WHERE run = ? ORDER BY seq", (run,))
        fetch = self._fetcher()
        found = {action.key: action for action in _decoded(rows, fetch) if isinstance(action, Action)}
        unwritten = {
            key: item for key, item in self._pending.items() if isinstance(item, Action) and item.key.run == run
        }
        return (*(unwritten.pop(key, action) for key, action in found.items()), *unwritten.values())

    def newest(self, count: int) -> tuple[Action, ...]:
        """The actions that were created last, in that order."""
        rows = self._connection.execute("SELECT body FROM actions ORDER BY seq DESC LIMIT ?", (count,)).fetchall()
        found = _decoded(reversed(rows), self._fetcher())
        return tuple(action for action in found if isinstance(action, Action))

    def runs(self) -> Iterator[tuple[Run, Action, bool]]:
        """Every run in the order of creation, with its root, and whether all of its actions have ended."""
        rows = self._connection.execute(
            "SELECT runs.body, actions.body, runs.name IN (SELECT run FROM actions WHERE is_over = 0)"
            " FROM runs JOIN actions ON actions.run = runs.name AND actions.name = ? ORDER BY runs.seq",
            (ROOT,),
        ).fetchall()
        fetch = self._fetcher()
        for run_text, root_text, is_live in rows:
            match list(_decoded([(run_text,), (root_text,)], fetch)):
                case [Run() as run, Action() as root]:
                    yield run, root, not is_live

    # Results

    def result(self, scope: str, key: str) -> Result | None:
        """What is cached under a key."""
        row = self._connection.execute(
            "SELECT outputs, folder, run, action, created FROM results WHERE scope = ? AND key = ?", (scope, key)
        ).fetchone()
        return Result(*row) if row else None

    def keep_result(self, scope: str, key: str, result: Result) -> None:
        """Cache a result in place of an earlier one."""
        row = (scope, key, result.outputs, result.folder, result.run, result.action, result.created)
        with self._writing("a result is not cached"):
            self._connection.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def forget_result(self, scope: str, key: str) -> None:
        """Drop a result whose outputs are not there any more."""
        with self._writing("a result is not forgotten"):
            self._connection.execute("DELETE FROM results WHERE scope = ? AND key = ?", (scope, key))

    def cached_folders(self) -> frozenset[str]:
        """The folders of runs that results lie in."""
        return frozenset(row[0] for row in self._connection.execute("SELECT DISTINCT folder FROM results"))

    def folders(self) -> frozenset[str]:
        """The folders of all runs that are known, and of those that results lie in."""
        rows = self._connection.execute("SELECT folder FROM runs UNION SELECT folder FROM results")
        return frozenset(row[0] for row in rows)

    def staying_folders(self, runs: Sequence[str], before: float | None) -> frozenset[str]:
        """The same, once `forget` has dropped some runs with results."""
        rows = self._connection.execute("SELECT folder, run, created FROM results").fetchall()
        staying = {row[0] for row in self._connection.execute("SELECT name FROM runs")}.difference(runs)
        return frozenset(
            folder
            for folder, run, created in rows
            if run in staying or (run not in runs and before is not None and created >= before)
        )

    def missing(self, known: Iterable[str]) -> frozenset[str]:
        """Which runs another process has dropped; costs nothing while no other process writes."""
        version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        if version == self._looked_at:
            return frozenset()
        missing = frozenset(known) - {row[0] for row in self._connection.execute("SELECT name FROM runs")}
        self._looked_at = version
        return missing

    # Pruning

    def ended(self) -> list[Ended]:
        """The runs of which nothing is under way, the oldest first."""
        rows = self._connection.execute(
            "SELECT runs.name, folder, COALESCE(MAX(ended), 0) FROM runs JOIN actions ON actions.run = runs.name"
            " GROUP BY runs.name HAVING MIN(is_over) = 1 ORDER BY runs.seq"
        )
        return [Ended(*row) for row in rows]

    def records(self, without: Collection[str] = ()) -> Iterator[Run | Action]:
        """Every run and every action, but for those of some runs, in no order."""
        fetch = self._fetcher()
        for statement in ("SELECT name, body FROM runs", "SELECT run, body FROM actions"):
            rows = ((body,) for run, body in self._connection.execute(statement).fetchall() if run not in without)
            yield from (item for item in _decoded(rows, fetch) if isinstance(item, (Run, Action)))

    def forget(self, runs: Sequence[str], *, with_results: bool = False, before: float | None = None) -> None:
        """Drop runs with their actions, and what only they used; raises sqlite3.Error.

        `with_results`, their results go as well, and those kept `before` a time whose runs are not known any more.
        """
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            names = [(name,) for name in runs]
            self._connection.executemany("DELETE FROM actions WHERE run = ?", names)
            self._connection.executemany("DELETE FROM runs WHERE name = ?", names)
            if with_results:
                self._connection.executemany("DELETE FROM results WHERE run = ?", names)
                self._connection.execute(
                    "DELETE FROM results WHERE run NOT IN (SELECT name FROM runs) AND (created < ?1 OR ?1 IS NULL)",
                    (before,),
                )
            self._drop_unused_messages()
        self._connection.execute("VACUUM")

    def _drop_unused_messages(self) -> None:
        used: set[str] = set()

        def note(_name: str, digest: str) -> None:
            used.add(digest)

        for table in ("runs", "actions"):
            for (text,) in self._connection.execute(f"SELECT body FROM {table}"):  # noqa: S608 - two names of ours
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    decode(text, note)
        stored = {row[0] for row in self._connection.execute("SELECT digest FROM messages")}
        self._connection.executemany("DELETE FROM messages WHERE digest = ?", [(item,) for item in stored - used])
        self._kept &= used

    # Steps

    def _flush(self) -> None:
        if not self._pending:
            return
        with self._writing("changes of runs are not on disk"):
            self._connection.execute("BEGIN IMMEDIATE")
            version = self._connection.execute("PRAGMA data_version").fetchone()[0]
            if version != self._version:
                # Another process has pruned the file, and with it perhaps messages.
                self._kept.clear()
                self._version = version
            for item in self._pending.values():
                self._write(item)
        if not self._has_failed:
            self._pending.clear()

    def _write(self, item: Action | Run) -> None:
        text = encode(item, self._keep)
        if isinstance(item, Run):
            self._connection.execute(
                "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?)", (item.name, next(self._order), item.folder, text)
            )
            return
        ended = item.ended.timestamp() if item.ended else None
        self._connection.execute(
            "INSERT INTO actions VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (run, name) DO UPDATE SET is_over = excluded.is_over, ended = excluded.ended,"
            " body = excluded.body",
            (item.key.run, item.key.name, next(self._order), item.phase.is_terminal, ended, text),
        )

    def _keep(self, body: bytes) -> str:
        digest = hashlib.blake2b(body, digest_size=16).hexdigest()
        if digest not in self._kept:
            self._connection.execute("INSERT OR IGNORE INTO messages VALUES (?, ?)", (digest, body))
            self._kept.add(digest)
        return digest

    def _fetcher(self) -> Callable[[str, str], Message]:
        """Messages by their digests, each parsed once."""
        parsed: dict[tuple[str, str], Message] = {}

        def fetch(name: str, digest: str) -> Message:
            found = parsed.get((name, digest))
            if found is None:
                row = self._connection.execute("SELECT body FROM messages WHERE digest = ?", (digest,)).fetchone()
                if row is None:
                    raise KeyError(digest)
                found = parsed[name, digest] = parse_message(name, row[0])
            return found

        return fetch

    @contextlib.contextmanager
    def _writing(self, consequence: str) -> Iterator[None]:
        """Write inside the block; a disk that refuses it is said once, and again when it has changed its mind."""
        try:
            with self._connection:
                yield
        except sqlite3.Error as error:
            self._kept.clear()
            if not self._has_failed:
                log.warning("`%s` cannot be written (%s): %s", self._path, error, consequence)
            self._has_failed = True
        else:
            self._has_failed = False


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
    try:
        path.chmod(0o600)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            with connection:
                for statement in _TABLES:
                    connection.execute(statement)
        elif version != SCHEMA:
            raise sqlite3.DatabaseError(f"it is of version {version}, and this is {SCHEMA}")
        connection.execute("SELECT 1 FROM runs LIMIT 1").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _decoded(rows: object, fetch: Callable[[str, str], Message]) -> Iterator[object]:
    """The values of rows; one that cannot be read is left out, and a warning says so."""
    for (text,) in rows:  # type: ignore[attr-defined]
        try:
            yield decode(text, fetch)
        except (ValueError, KeyError, TypeError) as error:
            log.warning("a row of the journal cannot be read: %s: %s", type(error).__name__, error)
