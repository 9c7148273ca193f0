"""How words look on terminals, and elsewhere."""

import io

import pytest

from flytebuild.cli.console import err, print_error
from flytebuild.errors import BuildError, StepFailure, UsageError


class Terminal(io.StringIO):
    """A terminal that remembers what is written to it."""

    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    for name in ("NO_COLOR", "FORCE_COLOR", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    found = Terminal()
    monkeypatch.setattr("sys.stderr", found)
    return found


def test_a_terminal_gets_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    print_error(UsageError("no", hint="try yes"))
    assert "\x1b[1;31merror" in screen.getvalue()


def test_no_color_leaves_text_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    print_error(UsageError("no", hint="try yes"))
    err().print("dim", style="dim")
    assert screen.getvalue() == "error: no\n\nhint: try yes\ndim\n"


def test_what_is_no_terminal_gets_text_only(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(UsageError("no"))
    assert capsys.readouterr().err == "error: no\n"


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
