"""The state: what was seen before, for many processes at once, and never a reason to fail."""

from __future__ import annotations

import multiprocessing
import sqlite3
from pathlib import Path

from flytebuild.events import Event, Notice
from flytebuild.measures import Measures, forget_cached, remember_sizes
from flytebuild.state import KEPT_BUILDS, KEPT_DAYS, BuildRecord, EnvironmentRecord, State, StepRecord

ONE, TWO = "1" * 64, "2" * 64


def notices(events: list[Event]) -> list[str]:
    return [event.message for event in events if isinstance(event, Notice)]


def test_images_are_where_they_were_seen_last_first(tmp_path: Path) -> None:
    now = 0
    with State.open(tmp_path / "state.sqlite", clock=lambda: now) as state:
        for reference in ("a/x:1", "b/x:1", "c/x:1", "a/x:1"):
            now += 1
            state.record_published([(ONE, reference)])
        assert state.references(ONE, 2) == ("a/x:1", "c/x:1")
        assert state.references(TWO, 2) == ()


def test_a_step_is_expected_to_take_what_it_took_or_what_one_of_its_name_took(tmp_path: Path) -> None:
    now = 1
    with State.open(tmp_path / "state.sqlite", clock=lambda: now) as state:
        assert state.expected("engine", "pip: torch") is None
        first, second = StepRecord("sha256:1", "pip: torch", 30.5, 2_000_000), StepRecord("sha256:2", "pip: torch", 8.0)
        state.record_steps("engine", [first])
        now = 2
        state.record_steps("engine", [second])
        assert state.expected("engine", "pip: torch", "sha256:1") == first
        assert state.expected("engine", "pip: torch", "sha256:3") == second
        assert state.expected("engine", "pip: torch") == second
        assert state.expected("another engine", "pip: torch") is None


def test_what_is_not_seen_for_long_is_forgotten(tmp_path: Path) -> None:
    now = 0.0
    with State.open(tmp_path / "state.sqlite", clock=lambda: now) as state:
        state.record_published([(ONE, "a/x:1")])
        state.record_steps("engine", [StepRecord("sha256:1", "run", 1.0)])
        now = (KEPT_DAYS + 1) * 86_400.0
        state.record_published([(TWO, "a/x:2")])
        assert state.references(ONE, 9) == ()
        assert state.expected("engine", "run") is None
        assert state.references(TWO, 9) == ("a/x:2",)


def _write(path: Path, number: int) -> None:
    with State.open(path) as state:
        for round_ in range(20):
            state.record_published([(ONE, f"r/{number}:{round_}")])
            state.record_steps("engine", [StepRecord(f"sha256:{number}", "run", float(round_))])


def test_processes_share_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "state.sqlite"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write, args=(path, number)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    with State.open(path) as state:
        assert len(state.references(ONE, 1000)) == 80


def test_a_broken_file_is_moved_aside_and_told(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    path.write_bytes(b"this is no database, and long enough for SQLite to see that" * 100)
    events: list[Event] = []
    with State.open(path, emit=events.append, clock=lambda: 7.0) as state:
        state.record_published([(ONE, "a/x:1")])
        assert state.references(ONE, 1) == ("a/x:1",)
    (notice,) = notices(events)
    assert "was broken and starts anew; the old file is `state.sqlite.broken-7`" in notice
    assert (tmp_path / "state.sqlite.broken-7").read_bytes().startswith(b"this is no database")


def test_a_file_that_breaks_while_it_is_used_fails_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    events: list[Event] = []
    with State.open(path, emit=events.append) as state:
        other = sqlite3.connect(path)
        other.execute("DROP TABLE published")
        other.commit()
        other.close()
        state.record_published([(ONE, "a/x:1")])
        assert state.references(ONE, 1) == ()
    assert "was broken" in notices(events)[0]
    with State.open(path, emit=events.append) as state:
        state.record_published([(ONE, "a/x:1")])
        assert state.references(ONE, 1) == ("a/x:1",)


def test_where_no_file_can_be_nothing_is_known_and_nothing_fails(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    events: list[Event] = []
    with State.open(tmp_path / "file" / "state.sqlite", emit=events.append) as state:
        state.record_published([(ONE, "a/x:1")])
        assert state.references(ONE, 1) == ()
    assert notices(events) == [
        f"the state in `{tmp_path}/file/state.sqlite` cannot be used, so nothing of earlier plans and builds is known: "
        f"`{tmp_path}/file`: File exists"
    ]


def test_another_version_s_rows_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    with State.open(path) as state:
        state.record_published([(ONE, "a/x:1")])
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with State.open(path) as state:
        assert state.references(ONE, 1) == ()


def test_an_environment_has_the_image_that_was_noted_last(tmp_path: Path) -> None:
    first = EnvironmentRecord("train", "/src/a.py", "linux/amd64", ONE, "{}")
    second = EnvironmentRecord("train", "/src/a.py", "linux/amd64", TWO, "{}")
    with State.open(tmp_path / "state.sqlite") as state:
        state.record_environments([first])
        state.record_environments([second])
        assert state.last("train", "/src/a.py", "linux/amd64") == second
        assert state.last("train", "/src/b.py", "linux/amd64") is None
        assert state.last("train", "/src/a.py", "linux/arm64") is None


def test_trees_are_kept_by_their_digests(tmp_path: Path) -> None:
    with State.open(tmp_path / "state.sqlite") as state:
        state.record_trees({ONE: {"a.py": "f1", "ü.py": "f2"}})
        state.record_trees({ONE: {"a.py": "f1", "ü.py": "f2"}, TWO: {}})
        assert state.tree(ONE) == {"a.py": "f1", "ü.py": "f2"}
        assert state.tree(TWO) == {}
        assert state.tree("3" * 64) is None


def test_the_latest_builds_are_remembered(tmp_path: Path) -> None:
    with State.open(tmp_path / "state.sqlite") as state:
        for number in range(KEPT_BUILDS + 2):
            state.record_build(BuildRecord(f"b{number}", float(number), "{}"))
        found = state.builds()
    assert [found[0].identifier, found[-1].identifier] == [f"b{KEPT_BUILDS + 1}", "b2"]


def test_what_a_pruned_cache_held_counts_as_cached_no_more(tmp_path: Path) -> None:
    with State.open(tmp_path / "state.sqlite") as state:
        for registry in ("r.example", "other.example"):
            remember_sizes(registry, [("1", "pip: a", 10), ("2", "pip: b", 20)], state)
        forget_cached("r.example", {"2"}, state)
        known = Measures(state, (), has_cache=True)
        assert [known.is_cached("r.example", digest) for digest in "12"] == [False, True]
        assert [known.is_cached("other.example", digest) for digest in "12"] == [True, True]
        assert known.size("1", "pip: a") == 10, "its bytes are still known"
