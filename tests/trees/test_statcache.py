"""The stat cache spares reading, and is never wrong: whatever is done to files, to clocks and to the cache itself."""

import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from flytebuild.events import Event, Notice
from flytebuild.trees import content, statcache
from flytebuild.trees.ignore import Ignore
from flytebuild.trees.scan import scan, scan_file
from flytebuild.trees.statcache import KnownFiles, StatCache, stamp

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
TOP = Path(__file__).parents[2]


def later(seconds: float = 10) -> Callable[[], int]:
    """A clock that is ahead, so that files which were just made count as old."""
    return lambda: time.time_ns() + int(seconds * SECOND)


class Reads:
    """Counts what is read."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._read = content.read
        patch.setattr(content, "read", self)

    def __call__(self, descriptor: int, buffer: memoryview, offset: int, flags: int) -> int:
        self.count += 1
        return self._read(descriptor, buffer, offset, flags)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "d").mkdir(parents=True)
    (folder / "a").write_bytes(b"1")
    (folder / "d/\udcff\n").write_bytes(b"2")
    return folder


def look(root: Path, path: Path, clock: Callable[[], int] | None = None) -> str:
    """Scan with the cache at `path`, check against a scan without, and give the digest."""
    with StatCache.open(path, clock=clock or later()) as cache:
        found = scan(root, Ignore.none(), cache)
    assert found == scan(root, Ignore.none(), None)
    return found.tree.digest


def rows(path: Path) -> int:
    with sqlite3.connect(path) as database:
        (count,) = database.execute("SELECT count(*) FROM files").fetchone()
    database.close()
    return int(count)


def test_what_did_not_change_is_not_read_again(root: Path, tmp_path: Path, reads: Reads) -> None:
    with StatCache.open(tmp_path / "made/on/the/way/c", clock=later()) as cache:
        first = scan(root, Ignore.none(), cache)
        assert reads.count == 2
    with StatCache.open(tmp_path / "made/on/the/way/c", clock=later()) as cache:
        assert scan(root, Ignore.none(), cache) == first
        assert scan(root / "d", Ignore.none(), cache).tree.digest == first.tree.by_path["d"].digest
        assert scan_file(root / "a", cache).tree == scan_file(root / "a", None).tree
        assert reads.count == 3
        (root / "a").write_bytes(b"3")
        scan(root, Ignore.none(), cache)
        assert reads.count == 4


def test_a_scan_without_news_writes_nothing(root: Path, tmp_path: Path) -> None:
    look(root, tmp_path / "c")
    with StatCache.open(tmp_path / "c", clock=later()) as cache:
        before = stamp(os.stat(tmp_path / "c")), rows(tmp_path / "c")
        scan(root, Ignore.none(), cache)
        assert (tmp_path / "c-wal").stat().st_size == 0
    assert (stamp(os.stat(tmp_path / "c")), rows(tmp_path / "c")) == before


def test_a_single_file_is_known_too(root: Path, tmp_path: Path, reads: Reads) -> None:
    with StatCache.open(tmp_path / "c", clock=later()) as cache:
        scan_file(root / "a", cache)
        scan_file(root / "a", cache)
        assert reads.count == 1
        scan(root, Ignore.none(), cache)
        assert reads.count == 2


def test_folders_that_begin_alike_are_apart(tmp_path: Path, reads: Reads) -> None:
    for name in ("ab", "a", "a b", "a0"):
        (tmp_path / "roots" / name).mkdir(parents=True)
        (tmp_path / "roots" / name / "x").write_bytes(name.encode())
    with StatCache.open(tmp_path / "c", clock=later()) as cache:
        scan(tmp_path / "roots", Ignore.none(), cache)
        assert set(cache.known(os.fsencode(tmp_path / "roots/a")).values) == {b"x"}


def test_fresh_files_are_read_every_time(root: Path, tmp_path: Path, reads: Reads) -> None:
    look(root, tmp_path / "c", clock=time.time_ns)
    assert rows(tmp_path / "c") == 0


def test_edits_of_one_size_in_one_second(root: Path, tmp_path: Path) -> None:
    for number in range(300):
        data = b"%08d" % number
        (root / "a").write_bytes(data)
        os.utime(root / "a", ns=(SECOND, SECOND))
        with StatCache.open(tmp_path / "c") as cache:
            found = scan(root, Ignore.none(), cache).tree.by_path["a"]
        assert found.digest == blake3(data).hexdigest()


def test_rename_and_utime(root: Path, tmp_path: Path) -> None:
    (root / "b").write_bytes(b"9")
    os.utime(root / "a", ns=(SECOND, SECOND))
    before = look(root, tmp_path / "c")
    assert rows(tmp_path / "c") == 3
    (root / "b").rename(root / "a")
    os.utime(root / "a", ns=(SECOND, SECOND))
    assert look(root, tmp_path / "c") != before


def test_an_edit_in_place_with_its_time_put_back(root: Path, tmp_path: Path) -> None:
    status = os.stat(root / "a")
    before = look(root, tmp_path / "c")
    with open(root / "a", "r+b") as file:
        file.write(b"9")
    os.utime(root / "a", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert os.stat(root / "a").st_mtime_ns == status.st_mtime_ns
    assert look(root, tmp_path / "c") != before


def test_swapped_folders_and_files(root: Path, tmp_path: Path) -> None:
    (root / "e").mkdir()
    (root / "e/\udcff\n").write_bytes(b"8")
    for name in ("d", "e"):
        os.utime(root / name / "\udcff\n", ns=(SECOND, SECOND))
    before = look(root, tmp_path / "c")
    (root / "d").rename(root / "f")
    (root / "e").rename(root / "d")
    (root / "f").rename(root / "e")
    assert look(root, tmp_path / "c") != before


@pytest.mark.parametrize(
    ("mtime", "ctime", "is_learned"),
    [
        (50 * SECOND, 50 * SECOND + 1, True),
        (50 * SECOND, 97 * SECOND + 1, True),
        (50 * SECOND, 98 * SECOND + 1, False),
        (98 * SECOND, 50 * SECOND + 1, False),
        # After the clock of the build: it was set back, or somebody wrote what they liked.
        (50 * SECOND, 1000 * SECOND + 1, False),
        (1000 * SECOND, 50 * SECOND + 1, False),
        # Whole seconds: another edit in that second, by a clock that was set back, would look the same.
        (50 * SECOND, 50 * SECOND, False),
    ],
)
def test_which_rows_are_worth_writing(mtime: int, ctime: int, is_learned: bool) -> None:
    known = KnownFiles(b"/x/", 100 * SECOND)
    seen = statcache._STAMP.pack(2, 1, 3, mtime, ctime)
    known.learn(b"a", seen, b"d" * 32)
    assert bool(known.learned) is is_learned


def test_age_counts_from_before_the_reading(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The clock jumps ahead while files are read: by the new time they are old, by the old one they are fresh.
    offset = [0]
    real = content.read

    def read(descriptor: int, buffer: memoryview, place: int, flags: int) -> int:
        offset[0] = 3600 * SECOND
        return real(descriptor, buffer, place, flags)

    monkeypatch.setattr(content, "read", read)
    with StatCache.open(tmp_path / "c", clock=lambda: time.time_ns() + offset[0]) as cache:
        scan(root, Ignore.none(), cache)
    assert offset == [3600 * SECOND]
    assert rows(tmp_path / "c") == 0


def test_a_clock_that_goes_back_makes_it_forget(root: Path, tmp_path: Path, reads: Reads) -> None:
    look(root, tmp_path / "c", clock=later(3600))
    assert rows(tmp_path / "c") == 2
    look(root, tmp_path / "c", clock=later(60))
    assert rows(tmp_path / "c") == 2
    before = reads.count
    with StatCache.open(tmp_path / "c", clock=later(30)) as cache:
        assert cache.known(os.fsencode(root.resolve())).values == {}
    assert rows(tmp_path / "c") == 0
    assert reads.count == before


def test_it_forgets_while_it_is_open_too(root: Path, tmp_path: Path) -> None:
    offset = [3600]
    with StatCache.open(tmp_path / "c", clock=lambda: time.time_ns() + offset[0] * SECOND) as cache:
        scan(root, Ignore.none(), cache)
        assert rows(tmp_path / "c") == 2
        offset[0] = 60
        assert cache.known(os.fsencode(root.resolve())).values == {}


def test_rows_that_nobody_uses_are_dropped(root: Path, tmp_path: Path, reads: Reads) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "x").write_bytes(b"7")
    look(root, tmp_path / "c")
    look(other, tmp_path / "c")
    (root / "a").unlink()
    for days in range(0, 60, 5):
        look(root, tmp_path / "c", clock=later(10 + days * 86_400))
    assert rows(tmp_path / "c") == 1
    before = reads.count
    with StatCache.open(tmp_path / "c", clock=later(10 + 60 * 86_400)) as cache:
        scan(root, Ignore.none(), cache)
    assert reads.count == before


def test_a_row_of_a_broken_disk_is_not_believed(root: Path, tmp_path: Path) -> None:
    look(root, tmp_path / "c")
    with sqlite3.connect(tmp_path / "c") as database:
        for path, value in database.execute("SELECT path, value FROM files").fetchall():
            wrong = value[:45] + bytes([value[45] ^ 1]) + value[46:]
            database.execute("UPDATE files SET value = ? WHERE path = ?", (wrong, path))
    database.close()
    look(root, tmp_path / "c")


@pytest.mark.parametrize("value", ["text", None, 7, b"", b"short"])
def test_values_of_any_other_kind(root: Path, tmp_path: Path, value: object) -> None:
    look(root, tmp_path / "c")
    with sqlite3.connect(tmp_path / "c") as database:
        database.execute("CREATE TABLE other (path BLOB PRIMARY KEY, value, used)")
        database.execute("INSERT INTO other SELECT path, ?, used FROM files", (value,))
        database.execute("DROP TABLE files")
        database.execute("ALTER TABLE other RENAME TO files")
        database.execute("UPDATE facts SET value = 'later' WHERE name = 'written'")
    database.close()
    look(root, tmp_path / "c")


@pytest.mark.parametrize("data", [b"", b"no database", b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_cache(root: Path, tmp_path: Path, data: bytes, reads: Reads) -> None:
    (tmp_path / "c").write_bytes(data)
    told: list[Event] = []
    with StatCache.open(tmp_path / "c", emit=told.append, clock=later()) as cache:
        scan(root, Ignore.none(), cache)
        before = reads.count
        scan(root, Ignore.none(), cache)
        assert reads.count == before
    assert [isinstance(event, Notice) and "was broken and starts anew" in event.message for event in told] == (
        [True] if data else []
    )


def test_tables_that_are_missing(root: Path, tmp_path: Path) -> None:
    for table in ("files", "facts"):
        look(root, tmp_path / "c")
        with sqlite3.connect(tmp_path / "c") as database:
            database.execute(f"DROP TABLE {table}")
        database.close()
        look(root, tmp_path / "c")
        look(root, tmp_path / "c")
        assert rows(tmp_path / "c") == 2


def test_another_schema_starts_anew(root: Path, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "c") as database:
        database.execute("CREATE TABLE files (something TEXT)")
        database.execute("PRAGMA user_version = 999")
    database.close()
    look(root, tmp_path / "c")
    assert rows(tmp_path / "c") == 2


def test_broken_bytes_anywhere(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for number in range(300):
        (root / f"{number}").write_bytes(b"%d" % number)
    look(root, tmp_path / "c")
    whole = (tmp_path / "c").read_bytes()
    chance = random.Random(20261122)
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(chance.choice([1, 5, 50])):
            data[chance.randrange(len(data))] = chance.randrange(256)
        cut = chance.choice([len(data), chance.randrange(len(data))])
        (tmp_path / "c").write_bytes(data[:cut])
        look(root, tmp_path / "c")


@pytest.mark.parametrize("kind", ["folder", "below a file"])
def test_a_place_that_cannot_be_used(root: Path, tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").touch()
    path = tmp_path if kind == "folder" else tmp_path / "file/c"
    told: list[Event] = []
    with StatCache.open(path, emit=told.append) as cache:
        assert scan(root, Ignore.none(), cache) == scan(root, Ignore.none(), None)
        scan(root, Ignore.none(), cache)
    (notice,) = told
    assert isinstance(notice, Notice)
    assert notice.message.startswith(f"the stat cache `{path}` cannot be used, so files are read again: ")
    assert "[Errno" not in notice.message


def test_a_full_disk(root: Path, tmp_path: Path) -> None:
    for number in range(500):
        (root / f"{number}").write_bytes(b"%d" % number)
    told: list[Event] = []
    with StatCache.open(tmp_path / "c", emit=told.append, clock=later()) as cache:
        assert cache._database
        cache._database.execute("PRAGMA max_page_count = 4")
        assert scan(root, Ignore.none(), cache) == scan(root, Ignore.none(), None)
        assert scan(root, Ignore.none(), cache) == scan(root, Ignore.none(), None)
    (notice,) = told
    assert isinstance(notice, Notice)
    assert "full" in notice.message
    look(root, tmp_path / "c")


def test_a_cache_that_may_only_be_read(root: Path, tmp_path: Path) -> None:
    look(root, tmp_path / "c")
    told: list[Event] = []
    with StatCache.open(tmp_path / "c", emit=told.append, clock=later()) as cache:
        assert cache._database
        cache._database.execute("PRAGMA query_only = 1")
        (root / "a").write_bytes(b"other")
        assert scan(root, Ignore.none(), cache) == scan(root, Ignore.none(), None)
    assert len(told) == 1


def test_a_cache_that_somebody_holds(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statcache, "_BUSY_SECONDS", 0.01)
    look(root, tmp_path / "c")
    (root / "a").write_bytes(b"other")
    holder = sqlite3.connect(tmp_path / "c", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    told: list[Event] = []
    try:
        with StatCache.open(tmp_path / "c", emit=told.append, clock=later()) as cache:
            assert scan(root, Ignore.none(), cache) == scan(root, Ignore.none(), None)
    finally:
        holder.execute("ROLLBACK")
        holder.close()
    assert len(told) == 1
    assert rows(tmp_path / "c") == 2


def test_several_processes_at_once(root: Path, tmp_path: Path) -> None:
    for number in range(300):
        (root / f"{number}").write_bytes(b"%d" % number)
    program = """
import sys, time
from pathlib import Path
from flytebuild.trees.ignore import Ignore
from flytebuild.trees.scan import scan
from flytebuild.trees.statcache import StatCache
root, path = map(Path, sys.argv[1:])
digests = set()
for _ in range(10):
    with StatCache.open(path, clock=lambda: time.time_ns() + 10**10) as cache:
        digests.add(scan(root, Ignore.none(), cache).tree.digest)
print(*digests)
"""
    command = [sys.executable, "-c", program, str(root), str(tmp_path / "c")]
    environment = {**os.environ, "PYTHONPATH": str(TOP)}
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    found = [process.communicate(timeout=120)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0] * 4
    assert set(found) == {scan(root, Ignore.none(), None).tree.digest}
    assert rows(tmp_path / "c") == 302


def test_a_closed_cache_knows_nothing(root: Path, tmp_path: Path) -> None:
    cache = StatCache.open(tmp_path / "c", clock=later())
    scan(root, Ignore.none(), cache)
    cache.close()
    assert cache.known(os.fsencode(root.resolve())).values == {}
    assert scan(root, Ignore.none(), cache) == scan(root, Ignore.none(), None)
