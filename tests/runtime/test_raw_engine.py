"""Containers without Flyte on a real engine, called by tasks of the real SDK."""

from __future__ import annotations

import pytest

from tests import plain
from tests.runtime.driver import Driver

pytestmark = pytest.mark.engine


def test_files_and_values_go_in_and_come_out(driver: Driver) -> None:
    said, document = driver.run("raw.use")
    assert said["phase"] == "succeeded", document
    words, told, copy, *rest = said["outputs"][0]
    assert (words, told, copy) == ("3", "3/true/null the image of the task", "one two three")
    assert rest == [
        "deep/a.txt",
        "deep/b.txt",
        "part",
        "1970-01-01T00:00:00+00:00",
        "1:30:00",
        "True",
        "1000.0",
    ]
    called = document["actions"][1]
    assert (called["phase"], called["exit_code"]) == ("SUCCEEDED", 0)
    log = plain.get(f"{driver.plane.endpoint}/api/runs/{document['run']}/actions/{called['name']}/logs").text
    assert '"wait": "5400s"' in log


def test_how_such_containers_fail(driver: Driver) -> None:
    said, document = driver.run("raw.survive")
    exited, told, kept = said["outputs"][0]
    assert exited.startswith("NonZeroExit: The container ended with exit code 4; the end of its log:")
    assert exited.endswith("\nno good")
    assert told == "OutputsUnusable: The container reported an error: the disk is full"
    assert kept == "OutputsUnusable: The container ended without writing `value` into its output folder"
    assert [len(action["attempts"]) for action in document["actions"]] == [1, 2, 1, 1]


def test_one_that_is_run_itself(driver: Driver) -> None:
    said, document = driver.run("raw.echo", {"word": "hello"})
    assert said == {"phase": "succeeded", "outputs": ["hello"]}
    assert [action["kind"] for action in document["actions"]] == ["task"]
