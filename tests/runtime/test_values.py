"""What passes between containers of a real engine, and what goes wrong beside what goes on."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests import plain
from tests.runtime.driver import Driver, containers

pytestmark = pytest.mark.engine


def test_a_folder_and_a_pickled_value_pass_between_containers(driver: Driver) -> None:
    said, document = driver.run("values.pass_on")
    assert said["outputs"] == [["A", "BELOW/B", "2"]]
    assert len({action["container"] for action in document["actions"]}) == 3


def test_a_table_passes_between_containers(table_run: tuple[dict[str, Any], dict[str, Any]]) -> None:
    said, document = table_run
    assert said["outputs"] == [[1000, 499500, 7]]
    assert len({action["container"] for action in document["actions"]}) == 3


def test_a_child_that_fails_takes_its_parent_and_its_sibling_along(driver: Driver) -> None:
    said, document = driver.run("values.one_of_two")
    assert said == {"phase": "failed"}
    phases = {action["task"].partition(".")[2]: action["phase"] for action in document["actions"]}
    assert phases == {"one_of_two": "FAILED", "break_down": "FAILED", "go_on": "ABORTED"}
    parent = document["actions"][0]
    assert parent["error"]["code"] == "ValueError"
    theirs = {action["container"] for action in document["actions"]}
    deadline = time.monotonic() + 60
    while theirs & set(containers(driver.config.home)):
        assert time.monotonic() < deadline, "a container is left"
        time.sleep(0.1)


def test_a_task_that_prints_binary_is_read_all_the_same(driver: Driver) -> None:
    _, document = driver.run("values.babble")
    assert document["phase"] == "SUCCEEDED"
    address = f"{driver.plane.endpoint}/api/runs/{document['run']}/actions/a0/logs"
    assert "after it" in plain.get(address).text
    assert "after it" in plain.get(document["url"]).text
    assert "after it" in driver.flyte("get", "logs", document["run"])


def test_an_output_beyond_the_limit_is_the_task_s_error(driver: Driver) -> None:
    said, document = driver.run("values.listen")
    assert said["outputs"] == ["user InlineIOMaxBytesBreached"]
    assert document["phase"] == "SUCCEEDED", "its parent has caught it"
