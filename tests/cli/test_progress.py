"""What people see of a build while it goes on."""

import asyncio
import importlib
import io
import json
import time
from datetime import datetime, timezone

import pytest
from rich.console import Console
from rich.status import Status

from flytebuild.cli.progress.counting import Counts
from flytebuild.cli.progress.follow import QUIET_SECONDS, follow
from flytebuild.cli.progress.json_lines import JsonLines
from flytebuild.cli.progress.plain import PlainLines
from flytebuild.cli.progress.terminal import LiveView
from flytebuild.config_values import ProgressMode
from flytebuild.events import (
    WHEEL_LAYERS,
    Event,
    ImageFinished,
    ImageStarted,
    Looked,
    StepFinished,
    StepLog,
    StepProgress,
    StepStarted,
)

A, B = ("a_env",), ("b_env", "c_env")


class Clock:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def started(image: str, environments: tuple[str, ...], *steps: str) -> ImageStarted:
    return ImageStarted(image, environments, f"r.example/{image}", steps)


def ended(image: str, environments: tuple[str, ...], **fields: object) -> ImageFinished:
    return ImageFinished(image, environments, f"r.example/{image}", "sha256:1", 2.0, **fields)  # type: ignore[arg-type]


def plain(clock: Clock, *events: Event, verbose: bool = False) -> tuple[PlainLines, io.StringIO]:
    text = io.StringIO()
    lines = PlainLines(Console(file=text, highlight=False, markup=False, soft_wrap=True), verbose, clock)
    for event in events:
        lines.take(event)
    return lines, text


def test_plain_lines_tell_each_step_once_and_each_image() -> None:
    _, text = plain(
        Clock(),
        started("a", A),
        started("b", B),
        StepStarted("a", "s1", "pip: six"),
        StepStarted("b", "s1", "pip: six"),
        StepFinished("a", "s1", "pip: six", cached=False, seconds=1.5),
        StepFinished("b", "s1", "pip: six", cached=False, seconds=1.5),
        StepFinished("a", "s2", "pip: ruff", cached=True, seconds=0),
        StepFinished("a", "s3", "pip: no", cached=False, seconds=1, error="exit code: 1"),
        StepFinished("b", "s4", "pip: slow", cached=False, seconds=1, cancelled=True),
        StepLog("a", "s3", "pip: no", ("not shown",)),
        ended("a", A, error="exit code: 1"),
        ended("b", B, cancelled=True),
        ended("c", A),
    )
    assert text.getvalue().splitlines() == [
        "a_env: building r.example/a",
        "b_env, c_env: building r.example/b",
        "  pip: six: 1.5 s",
        "  pip: ruff: cached",
        "  pip: no: failed",
        "  pip: slow: cancelled",
        "a_env: failed after 2.0 s",
        "b_env, c_env: cancelled after 2.0 s",
        "a_env: built r.example/c in 2.0 s",
    ]


@pytest.mark.parametrize("verbose", [False, True])
def test_a_step_that_took_no_time_is_told_where_there_is_something_to_tell(verbose: bool) -> None:
    steps = (
        StepFinished("x:1", "sha256:1", "nothing at all", cached=False, seconds=0.04),
        StepFinished("x:1", "sha256:2", "a little", cached=False, seconds=0.06),
        StepFinished("x:1", "sha256:3", "there", cached=True, seconds=0.0),
        StepFinished("x:1", "sha256:4", "gone wrong", cached=False, seconds=0.0, error="no such file"),
        StepLog("x:1", "sha256:5", "talkative", ("done",)),
        StepFinished("x:1", "sha256:5", "talkative", cached=False, seconds=0.0),
    )
    _, text = plain(Clock(), started("x:1", A), *steps, verbose=verbose)
    told = [line.strip() for line in text.getvalue().splitlines()[1:]]
    without = ["a little: 0.1 s", "there: cached", "gone wrong: failed", "talkative: 0.0 s"]
    assert told == (["nothing at all: 0.0 s", *without[:3], "done", without[3]] if verbose else without)


def test_plain_lines_end_with_what_came_of_it_all() -> None:
    clock = Clock()
    lines, text = plain(clock)
    lines.close()
    assert text.getvalue() == ""
    clock.now += 12.34
    for event in (
        started("a", A),
        StepFinished("a", "s1", "pip: six", cached=False, seconds=1.5),
        StepFinished("a", "s2", "pip: ruff", cached=True, seconds=0),
        # What runs nothing is not counted, and what was made before the images once.
        StepFinished("a", "s3", "base", cached=False, seconds=0.5, runs=False),
        StepFinished(WHEEL_LAYERS, "s4", "wheel: numpy 2", cached=False, seconds=9),
        StepFinished("a", "s4", "wheel: numpy 2", cached=True, seconds=0),
        ended("a", A),
        ended("b", B, written="images/b.tar"),
        ended("c", A, error="exit code: 1"),
        ended("d", A),
    ):
        lines.take(event)
    lines.close()
    assert text.getvalue().splitlines()[-4:] == [
        "b_env, c_env: wrote images/b.tar in 2.0 s",
        "a_env: failed after 2.0 s",
        "a_env: built r.example/d in 2.0 s",
        "2 built, 1 written, 1 failed in 12.3 s (2 steps executed, 1 cached)",
    ]


def test_a_reminder_names_what_still_runs_with_all_who_wait_for_it() -> None:
    clock = Clock()
    lines, text = plain(
        clock,
        started("a", A),
        started("b", B),
        started("c", ("d_env",)),
        StepStarted("a", "s1", "pip: torch"),
        StepStarted("b", "s1", "pip: torch"),
        StepStarted("a", "s0", "base"),
        StepFinished("a", "s0", "base", cached=False, seconds=0.1),
    )
    text.truncate(0)
    text.seek(0)
    clock.now += 42
    assert lines.silence == 42
    lines.remind()
    assert lines.silence == 0
    assert text.getvalue().splitlines() == [
        "  pip: torch: running for 42 s (a_env, b_env, c_env)",
        "  waiting for 42 s (d_env)",
    ]


def test_an_image_of_which_no_step_runs_waits_since_its_last_one() -> None:
    clock = Clock()
    events: list[Event] = [started("a", A), StepStarted("a", "s0", "base")]
    lines, text = plain(clock, *events)
    view = LiveView(clock)
    for event in events:
        view.take(event)
    clock.now += 300
    finished = StepFinished("a", "s0", "base", cached=False, seconds=300.0)
    lines.take(finished)
    view.take(finished)
    clock.now += 43
    lines.remind()
    assert text.getvalue().splitlines()[-1] == "  waiting for 43 s (a_env)"
    assert "waiting (for 43 s)" in shown(view)[0]


def test_a_silent_build_is_reminded_of(capsys: pytest.CaptureFixture[str]) -> None:
    async def build() -> str:
        with follow(quiet=0.01) as emit:
            emit(started("a", A))
            emit(StepStarted("a", "s1", "pip: torch"))
            deadline, text = time.monotonic() + 20, ""
            while text.count("pip: torch: running for 0 s (a_env)") < 2 and time.monotonic() < deadline:
                await asyncio.sleep(0.01)
                text += capsys.readouterr().err
            emit(ended("a", A))
        return text + capsys.readouterr().err

    lines = asyncio.run(build()).splitlines()
    assert lines[0] == "a_env: building r.example/a"
    assert lines[1:3] == ["  pip: torch: running for 0 s (a_env)"] * 2
    assert lines[-2] == "a_env: built r.example/a in 2.0 s"
    assert lines[-1].startswith("1 built in ")


def shown(view: LiveView) -> list[str]:
    text = io.StringIO()
    Console(file=text, width=120).print(view)
    return [" ".join(line.split()) for line in text.getvalue().splitlines()]


def test_a_terminal_shows_the_step_that_runs_and_for_how_long() -> None:
    clock = Clock()
    view = LiveView(clock)
    for event in (started("a", A), started("b", B), StepStarted("a", "s1", "pip: torch"), ended("b", B)):
        view.take(event)
    clock.now += 2
    assert shown(view)[0] == "b_env, c_env: built r.example/b in 2.0 s"
    assert shown(view)[1].endswith("a_env pip: torch 2 s")
    clock.now += 60
    assert shown(view)[1].endswith("a_env pip: torch (for 62 s) 62 s")
    assert len(view.results) == 1


def test_wheel_layers_have_lines_of_their_own_before_the_images() -> None:
    clock, name = Clock(), "wheel: numpy 2.3.5"
    events: list[Event] = [StepStarted(WHEEL_LAYERS, "s1", name), StepStarted(WHEEL_LAYERS, "s2", "wheel: six 1.17")]
    lines, text = plain(clock, *events)
    clock.now += 40
    lines.take(StepFinished(WHEEL_LAYERS, "s2", "wheel: six 1.17", cached=False, seconds=1.5))
    lines.remind()
    lines.take(StepFinished(WHEEL_LAYERS, "s1", name, cached=False, seconds=41.5))
    lines.take(started("a", A))
    assert text.getvalue().splitlines() == [
        "wheel layers: building",
        "  wheel: six 1.17: 1.5 s",
        f"  {name}: running for 40 s (wheel layers)",
        f"  {name}: 41.5 s",
        "a_env: building r.example/a",
    ]
    view = LiveView(clock)
    view.take(events[0])
    clock.now += 3
    (line,) = shown(view)
    assert line.endswith(f"wheel layers {name} 3 s")
    # One of which no end was told does not run while images are built.
    view.take(started("a", A))
    assert not [line for line in shown(view) if "wheel layers" in line]


def test_a_terminal_repeats_what_steps_write_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, color_system=None, width=120)
    monkeypatch.setattr(importlib.import_module("flytebuild.cli.progress.follow"), "err", lambda: console)

    async def build(verbose: bool) -> list[str]:
        text.truncate(0)
        text.seek(0)
        with follow("tty", verbose=verbose) as emit:
            for event in (
                started("a", A),
                started("b", B),
                StepLog("a", "s1", "pip: six", ("one", "two")),
                StepLog("b", "s1", "pip: six", ("one", "two", "three")),
                StepLog("a", "s2", "run: make", ("one",)),
                ended("a", A),
            ):
                emit(event)
        lines = [line.rpartition("\x1b[2K")[2].rstrip() for line in text.getvalue().splitlines()]
        return [line for line in lines if line.startswith(("  pip", "  run", "    "))]

    assert asyncio.run(build(verbose=True)) == [
        "  pip: six",
        "    one",
        "    two",
        "    three",
        "  run: make",
        "    one",
    ]
    assert asyncio.run(build(verbose=False)) == []


def test_a_terminal_counts_layers_and_bytes_and_tells_what_is_left() -> None:
    clock = Clock()
    view = LiveView(clock, expected={"base": 1.0, "pip: torch": 60.0, "pip: six": 20.0}.get)
    for event in (
        started("a", A, "base", "pip: torch", "pip: six"),
        started("b", B, "base"),
        StepStarted("a", "s0", "base"),
        StepFinished("a", "s0", "base", cached=True, seconds=0.1),
        StepFinished("b", "s0", "base", cached=True, seconds=0.1),
        StepStarted("a", "s1", "pip: torch"),
        StepProgress("a", "s1", "sha256:1", 20_000_000, 50_000_000),
        StepProgress("a", "s1", "sha256:2", 5_000_000, 10_000_000),
        ended("b", B),
    ):
        view.take(event)
    clock.now += 10
    _, image, total = shown(view)
    assert image.endswith("a_env pip: torch (for 10 s) 1/3 layers 1 cached 25.0 MB/60.0 MB 10 s")
    # 50 s of torch are left, and six after it.
    assert total == "1 of 2 images done · 0 steps executed, 1 cached · about 1 min 10 s left"


def test_nothing_is_said_of_what_is_left_where_a_layer_was_never_seen() -> None:
    view = LiveView(Clock(), expected={"base": 1.0}.get)
    view.take(started("a", A, "base", "pip: new"))
    assert shown(view)[-1] == "0 of 1 images done · 0 steps executed, 0 cached"


def test_every_event_is_a_line_of_json() -> None:
    text = io.StringIO()
    lines = JsonLines(text, now=lambda: datetime(2026, 1, 2, 3, 4, 5, 678900, timezone.utc))
    lines.take(started("a", A, "base"))
    lines.take(StepFinished("a", "s1", "pip: six", cached=False, seconds=1.5))
    assert [json.loads(line) for line in text.getvalue().splitlines()] == [
        {
            "event": "image_started",
            "time": "2026-01-02T03:04:05.678Z",
            "image": "a",
            "environments": ["a_env"],
            "reference": "r.example/a",
            "steps": ["base"],
        },
        {
            "event": "step_finished",
            "time": "2026-01-02T03:04:05.678Z",
            "image": "a",
            "step": "s1",
            "name": "pip: six",
            "cached": False,
            "seconds": 1.5,
            "error": None,
            "cancelled": False,
            "runs": True,
        },
    ]


@pytest.mark.parametrize(
    ("variable", "mode", "is_live"),
    [("", "auto", True), ("CI", "auto", False), ("NO_COLOR", "auto", False), ("CI", "tty", True), ("", "plain", False)],
)
def test_the_view_is_what_is_asked_for_or_fits_the_terminal(
    variable: str, mode: ProgressMode, is_live: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CI", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(Console, "is_terminal", True)
    if variable:
        monkeypatch.setenv(variable, "1")

    async def view() -> object:
        with follow(mode) as emit:
            return getattr(emit, "__self__", None)

    assert isinstance(asyncio.run(view()), LiveView) is is_live


def test_what_became_of_images_is_told_on_a_terminal_when_the_build_ends_early(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CI", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")

    async def build() -> None:
        with follow() as emit:
            emit(started("a", A))
            emit(ended("a", A, error="exit code: 1"))
            raise ValueError("the build")

    with pytest.raises(ValueError, match="the build"):
        asyncio.run(build())
    # The live part is wiped; the line that stays comes last.
    assert "a_env: failed" in capsys.readouterr().err.splitlines()[-1]


def test_looking_through_stores_is_told_now_and_then_and_followed_on_a_terminal() -> None:
    clock, text = Clock(), io.StringIO()
    counts = Counts(Console(file=text, width=120), clock=clock)
    counts.take(Looked("tags of `r.example/cache`", 1, 2400))
    clock.now += QUIET_SECONDS
    counts.take(Looked("tags of `r.example/cache`", 1200, 2400))
    counts.take(Looked("tags of `r.example/cache`", 1201, 2400))
    clock.now += QUIET_SECONDS
    counts.take(Looked("tags of `r.example/cache`", 2400, 2400))
    assert text.getvalue().splitlines() == ["1,200 of 2,400 tags of `r.example/cache`"]

    status = Status("", console=Console(file=text))
    live = Counts(Console(file=text), status, clock=clock)
    live.take(Looked("tags of `a`", 1, 2))
    live.take(Looked("images in `b`", 3, 4))
    assert str(status.status) == "1 of 2 tags of `a`; 3 of 4 images in `b`"
    live.take(Looked("tags of `a`", 2, 2))
    assert str(status.status) == "3 of 4 images in `b`"
