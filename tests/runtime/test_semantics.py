"""What Flyte promises a task beyond calling others, kept on a real engine for the real SDK."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from datetime import datetime

import pytest

from flytebuild.runtime import client
from tests import plain
from tests.runtime.driver import WORKFLOW, Driver

pytestmark = pytest.mark.engine


def test_groups_traces_maps_and_reports(driver: Driver) -> None:
    said, document = driver.run("semantics.everything")
    assert said["outputs"] == [["2", "HEAR!", "4", "6"]]
    found = sorted((item["kind"], item["group"], item["task"]) for item in document["actions"][1:])
    assert found == [
        ("task", "a group", "semantics.double"),
        ("task", "semantics.double_a map", "semantics.double"),
        ("task", "semantics.double_a map", "semantics.double"),
        ("trace", "a group", "shout"),
    ]
    script = "import sys, flyte; from flyte.remote import Action; flyte.init_from_config(); "
    script += "print(Action.get(run_name=sys.argv[1], name='a0').get_report())"
    report = subprocess.run(
        [sys.executable, "-c", script, document["run"]],
        env={**os.environ, **client.flyte_environment(driver.plane)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "<p>what was found</p>" in report.stdout, report.stderr
    base = f"/api/runs/{document['run']}/actions/a0/report"
    assert f"<a href='{base}'>Report</a>" in plain.get(document["url"]).text
    page = plain.get(f"{driver.plane.endpoint}{base}")
    assert "<p>what was found</p>" in page.text
    assert page.headers["content-security-policy"].startswith("sandbox allow-scripts"), "it is no page of ours"
    assert "task `semantics.double` is interruptible; nothing interrupts" in driver.plane.log_file.read_text()


def test_retries_wait_and_end_with_an_error_that_does_not_pass(driver: Driver) -> None:
    said, document = driver.run("semantics.despair")
    assert said["outputs"] == ["RuntimeUserError NonRecoverableError: this does not"]
    first, second = document["actions"][1]["attempts"]
    assert (first["error"]["code"], second["error"]["code"]) == ("RuntimeError", "NonRecoverableError")
    pause = datetime.fromisoformat(second["started"]) - datetime.fromisoformat(first["ended"])
    assert pause.total_seconds() >= 1, "its backoff"


def test_a_run_with_a_limit_of_its_own(driver: Driver) -> None:
    said, document = driver.run("semantics.crowd", max_action_concurrency=2)
    assert said["outputs"] == [3]
    _, *children = document["actions"]
    spans = sorted((child["started"], child["ended"]) for child in children)
    assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(spans)), spans


def test_a_module_that_is_imported_late(driver: Driver) -> None:
    said, document = driver.run("semantics.import_late")
    assert said == {"phase": "failed"}
    assert "No module named 'late'" in document["actions"][0]["error"]["message"]
    said, _ = driver.run("semantics.import_late", copy_style="all")
    assert said["outputs"] == ["imported late"]


def test_code_that_was_typed_in(driver: Driver) -> None:
    done = subprocess.run(
        [sys.executable, "-"],
        cwd=driver.config.home,
        env={**driver.environ, **client.flyte_environment(driver.plane)},
        input=(WORKFLOW / "typed_in.py").read_text(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["[[101, 102]]", "[102]"]
    newest = plain.get(f"{driver.plane.endpoint}/api/runs").json()["runs"][1]
    assert [action["task"] for action in driver.document(newest["run"])["actions"]] == [
        "caller.twice",
        "typed.shifted",
        "typed.shifted",
    ]
