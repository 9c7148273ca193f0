"""How errors are told."""

import pytest

from flytebuild.cli.console import print_error
from flytebuild.errors import BuildError, StepFailure


def test_a_failed_step_is_told_with_what_to_do_where_that_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    known = StepFailure("pip: a", "The secret `x` is missing", None, (), ("one",), hint="give it a value")
    unknown = StepFailure("pip: b", "exit code: 1", 1, ("last line",), ("two", "three"), origin="main.py:12")
    print_error(BuildError([known, unknown], manifests={}, failed=2))
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(
        "step failed: pip: a  (image of `one`)\n"
        "  The secret `x` is missing\n"
        "  hint: give it a value\n"
        "\n"
        "step failed: pip: b  (image of `two`, `three`)\n"
        "  written at main.py:12\n"
        "  last line\n"
        "  exit code: 1\n"
        "\n"
        "error: Building 2 of 2 images failed\n"
    )
