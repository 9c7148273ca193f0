"""The runs of a data folder, told by its control plane, and by its journal where none runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flytebuild.cli.main import cli
from flytebuild.cli.runs_list import lines
from flytebuild.config import Config
from flytebuild.errors import ControlPlaneError
from flytebuild.runtime import listing
from flytebuild.runtime.actions import Ledger
from flytebuild.runtime.client import ControlPlane
from flytebuild.runtime.journal import FILE_NAME, Database
from flytebuild.runtime.model import ActionKey, Phase
from tests.runtime import samples
from tests.runtime.conftest import ScriptedExecutor, served
from tests.schemas import validated

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
Call = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Three runs that began one after the other, the last of which goes on."""
    database, clock = Database(tmp_path / FILE_NAME), [NOON]
    ledger = Ledger(database, clock=lambda: clock[0])
    for name, phase, seconds in (("r0", Phase.SUCCEEDED, 6.94), ("r1", Phase.FAILED, 200), ("r2", None, 0)):
        ledger.create_run(replace(samples.run(name), started=clock[0]), samples.action(run_name=name))
        clock[0] += timedelta(seconds=seconds)
        if phase is not None:
            ledger.finish(ActionKey(name, "a0"), phase)
    database.close()
    return tmp_path


@pytest.fixture
def call(home: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """`flytebuild runs list` of the folder."""
    monkeypatch.setenv("FLYTEBUILD_HOME", str(home))
    monkeypatch.chdir(home)
    return lambda *arguments: CliRunner().invoke(cli, ["runs", "list", *arguments], catch_exceptions=False)


def test_runs_are_listed_where_no_control_plane_runs(call: Call) -> None:
    told = call()
    assert told.stdout.splitlines() == [
        "RUN  TASK      PHASE      STARTED (UTC)        TOOK",
        "r2   env.work  queued     2026-03-01 12:03:26",
        "r1   env.work  failed     2026-03-01 12:00:06  3 min 20 s",
        "r0   env.work  succeeded  2026-03-01 12:00:00  6.9 s",
    ]
    assert "no control plane runs" in told.stderr


def test_the_newest_are_enough(call: Call) -> None:
    document = validated(call("--limit", "2", "--json").stdout)
    assert document["schema"] == "flytebuild.runs/1"
    assert [(item["run"], item["phase"], item["ended"] is None) for item in document["runs"]] == [
        ("r2", "QUEUED", True),
        ("r1", "FAILED", False),
    ]
    told = call("--limit", "2")
    assert len(told.stdout.splitlines()) == 3
    assert "2 of 3 runs" in told.stderr


def test_a_control_plane_tells_the_same(home: Path, executor: ScriptedExecutor) -> None:
    kept = listing.kept(Config(home=home))["runs"]
    with served(home, executor) as server:
        asked = listing.asked(ControlPlane(server, os.getpid(), home))["runs"]
    facts = ("run", "task", "started")
    assert [[item[name] for name in facts] for item in asked] == [[item[name] for name in facts] for item in kept]
    shown = [line.plain for line in lines(asked[:1], NOON + timedelta(minutes=4))]
    assert shown[1].endswith("2026-03-01 12:03:26  33.1 s"), "what goes on has taken so long by now"
    with pytest.raises(ControlPlaneError, match="does not tell its runs"):
        listing.asked(ControlPlane(server, os.getpid(), home))


def test_a_journal_that_cannot_be_read_is_said(home: Path) -> None:
    (home / FILE_NAME).write_bytes(b"no database" * 100)
    with pytest.raises(ControlPlaneError, match="cannot be read"):
        listing.kept(Config(home=home))
