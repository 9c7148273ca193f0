"""What tasks called the last time, in this process or an earlier one."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from flytebuild.runtime.actions import Ledger
from flytebuild.runtime.container import Order, SecretUnknownError, order
from flytebuild.runtime.journal import FILE_NAME, Database
from flytebuild.runtime.model import ActionKey, Phase
from flytebuild.runtime.warm.calls import CALLERS, RECENT, Calls, earlier
from tests.runtime import samples
from tests.runtime.conftest import SITE

MAIN, WORK = "env.main", "env.work"


def journal(folder: Path) -> Database:
    """Two runs in which `env.main` calls `env.work`, with an argument that tells them apart, and one without calls."""
    database = Database(folder / FILE_NAME)
    ledger = Ledger(database)
    for number in (1, 2):
        run = samples.run(f"r{number}")
        ledger.create_run(run, samples.action(spec=samples.task_spec(MAIN), run_name=run.name))
        ledger.begin_attempt(ActionKey(run.name, "a0"), "main:1")
        spec = samples.task_spec(WORK)
        spec.task_template.container.args.append(f"--of-run={number}")
        ledger.add(samples.action("c1", "a0", spec, run.name))
        ledger.begin_attempt(ActionKey(run.name, "c1"), "image:1")
        ledger.finish(ActionKey(run.name, "a0"), Phase.SUCCEEDED)
    ledger.create_run(samples.run("r3"), samples.action(spec=samples.task_spec("env.alone"), run_name="r3"))
    return database


def recalled(folder: Path) -> Calls:
    database = journal(folder)
    ledger = Ledger(database, archive=database)
    ledger.restore(database.runs())
    calls = Calls()
    calls.recall(earlier(database.newest(RECENT), ledger.run, SITE, lambda name: name))
    database.close()
    return calls


def started(task: str, image: str = "main:1", caller: str = "") -> Order:
    action = samples.action(spec=samples.task_spec(task))
    made = order(samples.run(), action, samples.attempt(), SITE)
    return replace(made, image=image, caller=caller)


def test_an_earlier_process_s_calls_are_known(tmp_path: Path) -> None:
    calls = recalled(tmp_path)
    (found,) = calls.of(started(MAIN))
    assert (found.task, found.image, found.arguments[-1]) == (WORK, "image:1", "--of-run=2")
    assert list(calls.of(started("env.alone"))) == []


def test_what_another_image_called_counts_for_nothing(tmp_path: Path) -> None:
    assert list(recalled(tmp_path).of(started(MAIN, "main:2"))) == []


def test_a_run_that_cannot_be_read_any_more_keeps_nobody_from_starting(tmp_path: Path) -> None:
    database = journal(tmp_path)
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("DELETE FROM runs WHERE name = 'r2'")
    connection.close()
    ledger = Ledger(database, archive=database)
    ledger.restore(database.runs())
    (call,) = earlier(database.newest(RECENT), ledger.run, SITE, lambda name: name)
    assert call.order().arguments[-1] == "--of-run=1"
    database.close()


def test_what_was_seen_here_counts_before_it(tmp_path: Path) -> None:
    calls = recalled(tmp_path)
    calls.note(started("env.other", "other:1", caller=MAIN))
    assert [item.task for item in calls.of(started(MAIN))] == ["env.other"]


def test_a_secret_that_was_not_handed_over_again_holds_nobody_up() -> None:
    def missing(name: str) -> str:
        raise LookupError("it was not handed over")

    spec = samples.task_spec(WORK)
    spec.task_template.security_context.secrets.add(key="TOKEN", env_var="TOKEN")
    root = replace(samples.action(spec=samples.task_spec(MAIN)), attempts=(samples.attempt(),))
    child = replace(samples.action("c1", "a0", spec), attempts=(samples.attempt(),))
    (call,) = earlier((root, child), lambda _: samples.run(), SITE, missing)
    with pytest.raises(SecretUnknownError, match="it was not handed over"):
        call.order()
    calls = Calls()
    calls.recall([call])
    assert list(calls.of(started(MAIN, "image:1"))) == []


def test_callers_are_bounded() -> None:
    calls = Calls()
    for number in range(CALLERS + 1):
        calls.note(started(WORK, caller=f"env.caller{number}"))
    assert list(calls.of(started("env.caller0"))) == []
    assert len(list(calls.of(started(f"env.caller{CALLERS}")))) == 1
