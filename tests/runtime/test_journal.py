from __future__ import annotations

import logging
import sqlite3
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from flyteidl2.task.run_pb2 import RunSpec

from flytebuild.runtime import records
from flytebuild.runtime.actions import Ledger
from flytebuild.runtime.journal import FILE_NAME, Database, Result
from flytebuild.runtime.model import ActionKey, Cache, Failure, Phase
from tests.runtime import samples

ROOT = ActionKey("r1", "a0")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / FILE_NAME


def opened(path: Path) -> tuple[Database, Ledger]:
    database = Database(path)
    ledger = Ledger(database, archive=database, clock=lambda: samples.NOW + timedelta(seconds=1))
    ledger.restore(database.runs())
    return database, ledger


def play(ledger: Ledger, run: str = "r1", children: int = 2) -> None:
    """A run with a failed attempt, children and an end."""
    root = ActionKey(run, "a0")
    ledger.create_run(samples.run(run, MODE="fast"), samples.action(run_name=run))
    ledger.begin_attempt(root, "image:1")
    ledger.advance(root, Phase.RUNNING, container="c1", image_id="sha256:1", waiting_for="x")
    ledger.end_attempt(root, Phase.FAILED, Failure("ValueError", "nö", is_recoverable=True))
    ledger.begin_attempt(root, "image:1")
    for number in range(children):
        child = ActionKey(run, f"c{number}")
        ledger.add(replace(samples.action(child.name, parent="a0", run_name=run), cache_key="k"))
        ledger.finish(child, Phase.SUCCEEDED, outputs="s3://x", cache=Cache.HIT, cached_from="r0/c0")


def test_what_was_recorded_comes_back_as_it_was(path: Path) -> None:
    database, ledger = opened(path)
    play(ledger)
    before = ledger.actions("r1")
    # As after `kill -9`: nobody closes anything.
    _, again = opened(path)
    assert again.actions("r1") == before
    assert again.run("r1") == ledger.run("r1")
    assert [action.key.name for action in again.unfinished()] == ["a0"]
    assert not again.has_live_children(ROOT)
    assert [child.cached_from for child in again.children(ROOT)] == ["r0/c0"] * 2
    assert again.begin_attempt(ROOT, "image:1").number == 3
    database.close()


def test_runs_of_the_past_are_read_when_they_are_asked_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_WHOLE_RUNS", 1)
    database, ledger = opened(path)
    for name in ("r1", "r2"):
        play(ledger, name, children=3)
        ledger.finish(ActionKey(name, "a0"), Phase.SUCCEEDED)
    database.close()
    database, again = opened(path)
    loaded: list[str] = []
    load = database.load
    monkeypatch.setattr(database, "load", lambda run: loaded.append(run) or load(run))
    assert [run.name for run in again.runs()] == ["r2", "r1"]
    assert [again.root(run.name).phase for run in again.runs()] == [Phase.SUCCEEDED] * 2
    assert loaded == []
    assert len(again.actions("r1")) == 4
    assert again.action(ActionKey("r1", "c1")).phase is Phase.SUCCEEDED
    assert loaded == ["r1"]
    assert len(again.children(ActionKey("r2", "a0"))) == 3
    assert len(again.actions("r1")) == 4
    assert loaded == ["r1", "r2", "r1"]


def test_equal_messages_are_kept_once(path: Path) -> None:
    database, ledger = opened(path)
    play(ledger, children=50)
    assert sqlite3.connect(path).execute("SELECT COUNT(*) FROM messages").fetchone() == (2,)
    database.close()


def test_a_file_that_cannot_be_read_is_put_aside(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_bytes(b"not a database, " * 1000)
    database, ledger = opened(path)
    play(ledger)
    assert "cannot be used" in caplog.text
    assert any(item.name.startswith(f"{FILE_NAME}.1") for item in path.parent.iterdir())
    database.close()


def test_a_row_of_another_time(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    database, ledger = opened(path)
    play(ledger)
    play(ledger, "r2")
    database.close()
    with sqlite3.connect(path) as connection:
        connection.execute("""UPDATE runs SET body = replace(body, '"org"', '"unheard":1,"org"') WHERE name = 'r1'""")
        connection.execute("UPDATE runs SET body = '{}' WHERE name = 'r2'")
    _, again = opened(path)
    assert [run.name for run in again.runs()] == ["r1"]
    assert "cannot be read" in caplog.text


def test_a_full_disk_costs_durability_only(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    database, ledger = opened(path)
    ledger.create_run(samples.run(), samples.action())
    connection = database._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with caplog.at_level(logging.WARNING):
        for number in range(100):
            ledger.add(replace(samples.action(f"c{number}", parent="a0"), group="x" * 5000))
    assert caplog.text.count("cannot be written") == 1
    assert len(ledger.actions("r1")) == len(database.load("r1")) == 101
    connection.execute("PRAGMA max_page_count = 1000000")
    ledger.finish(ROOT, Phase.FAILED)
    _, again = opened(path)
    assert len(again.actions("r1")) == 101
    database.close()


def test_pruned_by_another_process(path: Path) -> None:
    database, ledger = opened(path)
    for name in ("r1", "r2"):
        play(ledger, name)
    ledger.finish(ROOT, Phase.SUCCEEDED)
    database.keep_result("p/d", "k", Result("s3://flytebuild/runs/r1/c0/1", "r1", "r1", "c0", 1.0))
    other = Database(path)
    assert [(run.name, run.folder) for run in other.ended()] == [("r1", "r1")]
    assert other.cached_folders() == {"r1"}
    other.forget(["r1"], with_results=True)
    assert database.result("p/d", "k") is None
    other.close()
    # A message that was dropped there is written again here.
    ledger.create_run(replace(samples.run("r3"), spec=RunSpec()), samples.action(run_name="r3"))
    ledger.forget(["r1", "r2"])
    assert [run.name for run in ledger.runs()] == ["r3", "r2"]
    _, again = opened(path)
    assert [run.name for run in again.runs()] == ["r3", "r2"]
    assert again.action(ActionKey("r3", "a0")).task == samples.task_spec()
    database.close()
