"""What was seen before, in one SQLite file of the user's: where images were published, which image an environment had,
what registries answered, what bases and wheels hold, and how long steps took.

Nothing depends on it: what it says of a registry is looked at again before it is used, and without it builds are only
told with less foresight. Any number of processes may use it at once. A file that is broken is moved aside, and a
`Notice` says so; one that cannot be used is done without.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from flytebuild.database import transaction
from flytebuild.events import Emit, ignore
from flytebuild.spare_database import Layout, SpareDatabase

SCHEMA = 5
"""Raised with the meaning of a row; what another version has written is dropped."""

KEPT_BUILDS = 100
"""So many builds are remembered, the latest."""

KEPT_DAYS = 180
"""Rows that were not written again for this long are dropped."""

_COST = "so nothing of earlier plans and builds is known"
_BUSY_SECONDS = 5.0
_DAY = 86_400
_TABLES = (
    "DROP TABLE IF EXISTS published",
    "DROP TABLE IF EXISTS steps",
    "DROP TABLE IF EXISTS environments",
    "DROP TABLE IF EXISTS trees",
    "DROP TABLE IF EXISTS builds",
    "DROP TABLE IF EXISTS memories",
    "DROP TABLE IF EXISTS answers",
    "CREATE TABLE published (image TEXT, reference TEXT, seen INTEGER NOT NULL, PRIMARY KEY (image, reference))"
    " WITHOUT ROWID",
    "CREATE TABLE steps (builder TEXT, digest TEXT, name TEXT NOT NULL, seconds REAL NOT NULL, size INTEGER NOT NULL,"
    " ended INTEGER NOT NULL, PRIMARY KEY (builder, digest)) WITHOUT ROWID",
    "CREATE INDEX steps_by_name ON steps (builder, name, ended)",
    "CREATE TABLE environments (environment TEXT, place TEXT, platform TEXT, image TEXT NOT NULL,"
    " composition TEXT NOT NULL, seen INTEGER NOT NULL, PRIMARY KEY (environment, place, platform)) WITHOUT ROWID",
    "CREATE TABLE trees (digest TEXT PRIMARY KEY, files BLOB NOT NULL, seen INTEGER NOT NULL)",
    "CREATE TABLE builds (identifier TEXT PRIMARY KEY, started REAL NOT NULL, document TEXT NOT NULL)",
    "CREATE TABLE memories (kind TEXT, key TEXT, content BLOB NOT NULL, seen INTEGER NOT NULL,"
    " PRIMARY KEY (kind, key)) WITHOUT ROWID",
    "CREATE TABLE answers (question TEXT PRIMARY KEY, answer TEXT NOT NULL, seen REAL NOT NULL,"
    " is_fresh INTEGER NOT NULL) WITHOUT ROWID",
    f"PRAGMA user_version = {SCHEMA}",
)
_LAYOUT = Layout(SCHEMA, _TABLES, "SELECT count(*) FROM published")


class StepRecord(Struct, frozen=True):
    """A step that was executed: its vertex's digest and name, its seconds, and the bytes that it moved (0: none)."""

    digest: str
    name: str
    seconds: float
    size: int = 0


class EnvironmentRecord(Struct, frozen=True):
    """The image that an environment has for one platform: its digest and the text of its composition.

    `place` is the file that the environment is defined in: another project may have one of the same name.
    """

    environment: str
    place: str
    platform: str
    image: str
    composition: str


class Answer(Struct, frozen=True):
    """What a registry or an engine answered, and when: `seen` is in seconds since the epoch."""

    text: str
    seen: float


class BuildRecord(Struct, frozen=True):
    """A build that was made: `started` in seconds since the epoch, `document` what happened and when, as JSON."""

    identifier: str
    started: float
    document: str


class State(SpareDatabase):
    """The state in one file. `State.open` never fails, and no method does."""

    def __init__(self, path: Path, emit: Emit, clock: Callable[[], float]) -> None:
        super().__init__(path, emit, subject="the state in", cost=_COST, put_away=self._move_aside)
        self._clock = clock

    @classmethod
    def open(cls, path: Path, *, emit: Emit = ignore, clock: Callable[[], float] = time.time) -> State:
        """The state at `path`, made where there is none. `clock` gives seconds since the epoch."""
        state = cls(path, emit, clock)
        state.connect(_LAYOUT, _BUSY_SECONDS)
        return state

    # Where images are

    def record_published(self, references: Iterable[tuple[str, str]]) -> None:
        """Note images, each by its digest (64 hex digits) and a reference that it was seen under."""
        now = int(self._clock())
        self._write(
            "INSERT INTO published VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET seen = excluded.seen",
            [(image, reference, now) for image, reference in references],
        )

    def references(self, image: str, limit: int) -> tuple[str, ...]:
        """Where an image was seen, the latest first."""
        query = "SELECT reference FROM published WHERE image = ? ORDER BY seen DESC, reference LIMIT ?"
        return tuple(str(row[0]) for row in self._read(query, (image, limit)))

    # What environments had

    def record_environments(self, records: Iterable[EnvironmentRecord]) -> None:
        """Note the images that environments have now, in the place of those that they had."""
        now = int(self._clock())
        self._write(
            "INSERT OR REPLACE INTO environments VALUES (?, ?, ?, ?, ?, ?)",
            [(item.environment, item.place, item.platform, item.image, item.composition, now) for item in records],
        )

    def platforms(self, environment: str, place: str) -> tuple[str, ...]:
        """The platforms for which an environment had an image when it was noted last."""
        query = "SELECT platform FROM environments WHERE environment = ? AND place = ? ORDER BY platform"
        return tuple(str(platform) for (platform,) in self._read(query, (environment, place)))

    def last(self, environment: str, place: str, platform: str) -> EnvironmentRecord | None:
        """The image that an environment had when it was noted last."""
        query = (
            "SELECT environment, place, platform, image, composition FROM environments"
            " WHERE environment = ? AND place = ? AND platform = ?"
        )
        rows = self._read(query, (environment, place, platform))
        return EnvironmentRecord(*rows[0]) if rows else None

    def record_trees(self, trees: Mapping[str, Mapping[str, str]]) -> None:
        """Note the files of trees, by the trees' digests: what each path holds, as a text that changes with it."""
        now = int(self._clock())
        unknown = [digest for digest in trees if not self._read("SELECT 1 FROM trees WHERE digest = ?", (digest,))]
        self._write(
            "INSERT OR IGNORE INTO trees VALUES (?, ?, ?)",
            [(digest, zlib.compress(json.dumps(dict(trees[digest])).encode(), 1), now) for digest in unknown],
        )

    def tree(self, digest: str) -> dict[str, str] | None:
        """The files of a tree that was noted."""
        rows = self._read("SELECT files FROM trees WHERE digest = ?", (digest,))
        return dict(json.loads(zlib.decompress(rows[0][0]))) if rows else None

    # What never changes, and took long to find out

    def remember(self, kind: str, key: str, text: str) -> None:
        """Note a text that belongs to a key of some kind: what a base holds by its digest, what a wheel says by its."""
        self.remember_all(kind, {key: text})

    def remember_all(self, kind: str, texts: Mapping[str, str]) -> None:
        """Note several texts of one kind, by their keys."""
        now = int(self._clock())
        self._write(
            "INSERT OR REPLACE INTO memories VALUES (?, ?, ?, ?)",
            [(kind, key, zlib.compress(text.encode(), 1), now) for key, text in texts.items()],
        )

    def remembered(self, kind: str, key: str) -> str | None:
        """The text that was noted for a key."""
        rows = self._read("SELECT content FROM memories WHERE kind = ? AND key = ?", (kind, key))
        return zlib.decompress(rows[0][0]).decode() if rows else None

    def forget_all(self, kind: str, prefix: str, kept: Collection[str] = ()) -> None:
        """Let go of the texts of one kind whose keys begin with a prefix, but for those of `kept` keys."""
        query = "SELECT key FROM memories WHERE kind = ? AND substr(key, 1, ?) = ?"
        found = self._read(query, (kind, len(prefix), prefix))
        gone = [(kind, key) for (key,) in found if key not in kept]
        self._write("DELETE FROM memories WHERE kind = ? AND key = ?", list[tuple[object, ...]](gone))

    # What was answered

    def record_answers(self, answers: Mapping[str, str]) -> None:
        """Note what was answered just now, by the question."""
        now = self._clock()
        self._write(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, 1)",
            [(question, text, now) for question, text in answers.items()],
        )

    def answer(self, question: str, seconds: float | None) -> Answer | None:
        """What was answered less than so many seconds ago, and before nothing that may have changed it; or ever."""
        rows = self._read("SELECT answer, seen, is_fresh FROM answers WHERE question = ?", (question,))
        if not rows:
            return None
        text, seen, is_fresh = rows[0]
        is_young = seconds is None or (is_fresh and 0 <= self._clock() - seen < seconds)
        return Answer(text, seen) if is_young else None

    def outdate_answers(self, names: Iterable[str]) -> None:
        """Note that what was answered about these repositories, or single references, may have changed."""
        self._write("UPDATE answers SET is_fresh = 0 WHERE instr(question, ?) > 0", [(name,) for name in names])

    # Builds

    def record_build(self, record: BuildRecord) -> None:
        """Note a build that has ended."""
        self._write(
            "INSERT OR REPLACE INTO builds VALUES (?, ?, ?)", [(record.identifier, record.started, record.document)]
        )

    def builds(self) -> tuple[BuildRecord, ...]:
        """The builds that are remembered, the latest first."""
        rows = self._read("SELECT identifier, started, document FROM builds ORDER BY started DESC", ())
        return tuple(BuildRecord(*row) for row in rows)

    # How long steps take

    def record_steps(self, builder: str, steps: Iterable[StepRecord]) -> None:
        """Note steps that a builder has executed to their good end; `builder` is its address."""
        now = int(self._clock())
        self._write(
            "INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?, ?, ?)",
            [(builder, step.digest, step.name, step.seconds, step.size, now) for step in steps],
        )

    def expected(self, builder: str, name: str, digest: str = "") -> StepRecord | None:
        """What a step took there the last time: that very step, else the latest that had its name."""
        query = (
            "SELECT digest, name, seconds, size FROM steps WHERE builder = ? AND (name = ? OR digest = ?)"
            " ORDER BY digest = ? DESC, ended DESC LIMIT 1"
        )
        rows = self._read(query, (builder, name, digest, digest))
        return StepRecord(*rows[0]) if rows else None

    def _read(self, query: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        with self._guarded() as database:
            return database.execute(query, values).fetchall() if database else []
        return []

    def _write(self, statement: str, rows: list[tuple[object, ...]]) -> None:
        if not rows:
            return
        with self._guarded() as database:
            if database:
                oldest = int(self._clock()) - KEPT_DAYS * _DAY
                with transaction(database):
                    database.executemany(statement, rows)
                    database.execute("DELETE FROM published WHERE seen < ?", (oldest,))
                    database.execute("DELETE FROM steps WHERE ended < ?", (oldest,))
                    database.execute("DELETE FROM environments WHERE seen < ?", (oldest,))
                    database.execute("DELETE FROM trees WHERE seen < ?", (oldest,))
                    database.execute("DELETE FROM memories WHERE seen < ?", (oldest,))
                    database.execute("DELETE FROM answers WHERE seen < ?", (oldest,))
                    kept = "SELECT identifier FROM builds ORDER BY started DESC LIMIT ?"
                    database.execute(f"DELETE FROM builds WHERE identifier NOT IN ({kept})", (KEPT_BUILDS,))  # noqa: S608

    def _move_aside(self, path: Path) -> str:
        aside = path.with_name(f"{path.name}.broken-{int(self._clock())}")
        path.replace(aside)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        return f"; the old file is `{aside.name}`"
