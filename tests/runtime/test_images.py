"""Pulls that break off, by an engine that says so."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker.errors import APIError, NotFound

from flytebuild import folders
from flytebuild.runtime import images
from flytebuild.runtime.executor import StartError
from flytebuild.runtime.images import Images
from flytebuild.runtime.requests import Requests
from flytebuild.runtime.watcher import Patience
from flytebuild.state import State

IMAGE = "registry.test/app:1"


class Engine:
    """Answers pulls in turn: with what it says, or with a refusal."""

    def __init__(self, *answers: str | APIError) -> None:
        self.answers = list(answers)

    def inspect_image(self, name: str) -> dict[str, Any]:
        raise NotFound(f"No such image: {name}")

    def pull(self, name: str, **_: object) -> Iterator[dict[str, Any]]:
        answer = self.answers.pop(0)
        if isinstance(answer, APIError):
            raise answer
        yield {"status": "Downloading", "id": "a", "progressDetail": {"current": 2_000_000, "total": 4_000_000}}
        if answer:
            yield {"error": answer}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(images, "_PAUSES", (0, 0))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def pulled(engine: Engine, image: str = IMAGE) -> str:
    requests = Requests()
    try:
        return asyncio.run(Images(engine, requests, {}, Patience()).present(image))
    finally:
        requests.close()


def test_a_pull_that_breaks_off_is_begun_again() -> None:
    engine = Engine("content digest sha256:0: not found", "unexpected EOF", "")
    assert pulled(engine) == IMAGE
    assert engine.answers == []


def test_one_that_breaks_off_every_time_is_given_up_with_what_the_engine_said_last() -> None:
    with pytest.raises(StartError, match=r"`registry\.test/app:1` cannot be pulled: third") as caught:
        pulled(Engine("first", "second", "third"))
    assert caught.value.code == "ImagePullBackOff"


def test_an_image_that_cannot_be_pulled_is_asked_for_again_before_the_next_run() -> None:
    with State.open(folders.state_file()) as state:
        state.record_answers({f"observe  {IMAGE}": "seen", "observe  registry.test/other:1": "seen"})
        with pytest.raises(StartError):
            pulled(Engine(NotFound("manifest unknown")))
        assert state.answer(f"observe  {IMAGE}", 60) is None
        assert state.answer("observe  registry.test/other:1", 60) is not None


def test_an_image_that_the_engine_alone_has_had_is_pulled_from_nowhere() -> None:
    image = "flytebuild.local/env:b3-1"
    with State.open(folders.state_file()) as state:
        state.record_answers({f"observe 0 {image}": "seen"})
        with pytest.raises(StartError, match="is not in the engine's store; the next run builds it"):
            pulled(Engine(), image)
        assert state.answer(f"observe 0 {image}", 60) is None


def test_a_refusal_is_not_asked_again() -> None:
    engine = Engine(NotFound("manifest unknown"), "")
    with pytest.raises(StartError, match="manifest unknown"):
        pulled(engine)
    assert engine.answers == [""]
