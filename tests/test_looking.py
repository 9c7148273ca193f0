"""What is remembered of answers, how long it counts, and that nobody is asked where nobody may be."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from flytebuild.config import Config
from flytebuild.facts import Absent, Present, Unknown
from flytebuild.looking import Outside, Remembered, observation_text, read_observation
from flytebuild.plan import Observation
from flytebuild.spec.images import Platform, ResolvedImage, RuntimeConfig
from flytebuild.state import State

AMD64 = Platform("linux", "amd64")
CONFIG = RuntimeConfig(
    env=(("PATH", "/bin"), ("A", "b")),
    user="flyte",
    workdir="/root",
    entrypoint=("tini",),
    cmd=("sh", "-c"),
    labels=(("a", "b"),),
    shell=("/bin/bash", "-c"),
    other='{"StopSignal":"SIGINT"}',
)
IMAGE = ResolvedImage("python:3.11", "docker.io/library/python:3.11", "sha256:" + "1" * 64, CONFIG, on_build=("RUN x",))
HERE = Observation(Present("sha256:" + "2" * 64), frozenset({"3" * 64}), "4" * 64)
NOWHERE = Config(offline=True, builder=("tcp://build.example:1",))


@dataclass
class Asked:
    """Answers, and the questions that were asked."""

    seen: Observation = HERE
    image_there: ResolvedImage = IMAGE
    questions: list[str] = field(default_factory=list)

    async def platform(self) -> Platform | None:
        self.questions.append("platform")
        return AMD64

    async def image(self, name: str, platform: Platform | None, digest: str | None = None) -> ResolvedImage:
        self.questions.append(f"{name} {platform}")
        return self.image_there

    async def observe(self, reference: str) -> Observation:
        self.questions.append(reference)
        return self.seen


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def look(state: State, source: Asked | Outside, config: Config, seconds: float = 0.0) -> tuple[object, ...]:
    """Everything that a plan asks, in one go; what was answered is kept."""
    known = Remembered(source, state, config, seconds)

    async def ask() -> tuple[object, ...]:
        found = await known.observe_all(["r.test/a:1", "r.test/a:1", "r.test/b:1"])
        return await known.platform(), await known.image("python:3.11", AMD64), found

    told = asyncio.run(ask())
    known.keep()
    return (*told, known.oldest)


def test_an_answer_counts_while_it_is_fresh(tmp_path: Path) -> None:
    clock, source = Clock(), Asked()
    with State.open(tmp_path / "state.sqlite", clock=clock) as state:
        first = look(state, source, Config(), 10)
        assert first == (AMD64, IMAGE, {"r.test/a:1": HERE, "r.test/b:1": HERE}, None)
        assert sorted(source.questions) == ["platform", "python:3.11 linux/amd64", "r.test/a:1", "r.test/b:1"]
        clock.now += 9
        assert look(state, source, Config(), 10) == (*first[:3], 1_000_000.0)
        assert len(source.questions) == 4
        clock.now += 1
        assert look(state, source, Config(), 10) == first
        assert len(source.questions) == 8


@pytest.mark.parametrize("seconds", [0.0, 10.0])
def test_who_wants_to_know_it_now_asks(tmp_path: Path, seconds: float) -> None:
    """With `fresh` 0, and after a build or a prune."""
    source = Asked()
    with State.open(tmp_path / "state.sqlite", clock=Clock()) as state:
        look(state, source, Config(), seconds)
        if seconds:
            state.outdate_answers(["r.test/a", "r.test/b:1"])
        source.seen = Observation(Absent())
        assert look(state, source, Config(), seconds)[2] == dict.fromkeys(("r.test/a:1", "r.test/b:1"), source.seen)


def test_what_a_build_does_not_touch_stays_fresh(tmp_path: Path) -> None:
    source = Asked()
    with State.open(tmp_path / "state.sqlite", clock=Clock()) as state:
        look(state, source, Config(), 10)
        source.questions.clear()
        state.outdate_answers(["r.test/a"])
        look(state, source, Config(), 10)
    assert source.questions == ["r.test/a:1"]


def test_a_clock_that_was_set_back_makes_nothing_fresh(tmp_path: Path) -> None:
    clock, source = Clock(), Asked()
    with State.open(tmp_path / "state.sqlite", clock=clock) as state:
        look(state, source, Config(), 10)
        clock.now -= 1000
        look(state, source, Config(), 10)
    assert len(source.questions) == 8


def test_what_is_not_certain_is_not_remembered(tmp_path: Path) -> None:
    problem = ResolvedImage("python:3.11", "docker.io/library/python:3.11", problem="no answer")
    source = Asked(Observation(Unknown("no answer")), problem)
    with State.open(tmp_path / "state.sqlite", clock=Clock()) as state:
        look(state, source, Config(), 10)
        source.seen, source.image_there = HERE, IMAGE
        assert look(state, source, Config(), 10)[1:3] == (IMAGE, {"r.test/a:1": HERE, "r.test/b:1": HERE})


def test_offline_answers_are_of_any_age_and_what_was_never_answered_is_unknown(tmp_path: Path) -> None:
    clock = Clock()
    with State.open(tmp_path / "state.sqlite", clock=clock) as state:
        platform, image, seen, oldest = look(state, Outside(NOWHERE), NOWHERE)
        assert (platform, oldest) == (None, None)
        assert isinstance(image, ResolvedImage)
        assert not image.is_resolved
        assert isinstance(seen, dict)
        assert all(isinstance(item.fact, Unknown) for item in seen.values())
        look(state, Asked(), replace(NOWHERE, offline=False))
        state.outdate_answers(["r.test/a", "docker.io/library/python"])
        clock.now += 86_400 * 30
        assert look(state, Outside(NOWHERE), NOWHERE) == (
            AMD64,
            IMAGE,
            {"r.test/a:1": HERE, "r.test/b:1": HERE},
            1_000_000.0,
        )


def test_an_engine_s_own_images_are_those_of_that_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Asked()
    with State.open(tmp_path / "state.sqlite", clock=Clock()) as state:
        for host in ("unix:///one.sock", "unix:///other.sock", "unix:///one.sock"):
            monkeypatch.setenv("DOCKER_HOST", host)
            known = Remembered(source, state, Config(), 10)
            asyncio.run(known.observe("flytebuild.local/a:1"))
            known.keep()
    assert len(source.questions) == 2


DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)


@given(DIGESTS, st.frozensets(DIGESTS, max_size=3), DIGESTS)
def test_an_observation_comes_back_as_it_was(manifest: str, layers: frozenset[str], image: str) -> None:
    seen = Observation(Present(f"sha256:{manifest}"), layers, image)
    assert read_observation(observation_text(seen) or "") == seen
