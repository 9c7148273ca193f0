"""`flytebuild rerun`: what has failed is run again, by hand, in the image where it failed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import command
from tests.engine.conftest import shells
from tests.runtime.driver import Driver

pytestmark = pytest.mark.engine

MEND = r"""
pwd; cat /run/flytebuild/inputs.json; echo "variable: $FROM_TASK"
sed -i 's/    raise ValueError(text)/    print("mended:", text); return text/' flows.py
/run/flytebuild/again
echo "ended with $?"
exit 5
"""


def rerun(driver: Driver, *arguments: str) -> subprocess.CompletedProcess[str]:
    return command(("rerun", *arguments), driver.config.home, driver.environ)


def rerun_in_a_shell(driver: Driver, run: str, typed: str) -> subprocess.CompletedProcess[str]:
    program = [Path(sys.executable).with_name("flytebuild"), "rerun", run, "a0", "--shell"]
    return subprocess.run(
        program, cwd=driver.config.home, env=driver.environ, input=typed, capture_output=True, text=True, timeout=120
    )


def test_a_failed_task_fails_again_and_can_be_mended(driver: Driver) -> None:
    _, document = driver.run("fail", {"text": "no good"})
    run = document["run"]
    done = rerun(driver, run)
    assert done.returncode == 1, done.stderr
    assert "error: `flows.fail` failed again: ValueError: no good" in done.stderr

    done = rerun_in_a_shell(driver, run, MEND)
    assert done.returncode == 5, done.stderr
    assert 'flows.fail, attempt 1, failed\n  text = "no good"\n/run/flytebuild/again runs it again' in done.stderr
    for words in ('"text": "no good"', "variable: task", "mended: no good", "ended with 0"):
        assert words in done.stdout
    assert driver.document(run) == document, "the record stays as it is"
    assert shells(document["actions"][0]["image"]) == []


def test_what_it_called_answers_as_it_did(driver: Driver) -> None:
    _, document = driver.run("catch", {"text": "no good"})
    refused = rerun(driver, document["run"])
    assert refused.returncode == 1
    assert f"error: Run `{document['run']}` has not failed" in refused.stderr
    done = rerun(driver, document["run"], "a0")
    assert done.returncode == 0, done.stderr
    assert driver.document(document["run"]) == document


def test_a_run_that_was_never_there(driver: Driver) -> None:
    done = rerun(driver, "nope")
    assert done.returncode == 64
    assert "error: There is no run `nope`\n" in done.stderr


def test_a_container_without_flyte(driver: Driver) -> None:
    """Its image has an entrypoint and a user of its own."""
    _, document = driver.run("raw.echo", {"word": "hello"})
    typed = "cat /var/inputs/word; /run/flytebuild/again; cat /var/outputs/word; id -u"
    done = rerun_in_a_shell(driver, document["run"], typed)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("entrypoint: ")[0] == "hello"
    assert done.stdout.splitlines()[-1].endswith("hello1000")
