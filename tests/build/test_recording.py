"""What happened in a build and when."""

from __future__ import annotations

import json

from flytebuild.build.recording import Recording
from flytebuild.events import Event, ImageFinished, ImageStarted, Notice, StepFinished
from flytebuild.runtime.web.builds import build_body, builds_list
from flytebuild.state import BuildRecord

EVIL = "<b>&\"'"


def recorded() -> tuple[Recording, list[Event]]:
    """A build of two images that share a step; the second one fails."""
    now, passed = [100.0], list[Event]()
    recording = Recording(passed.append, lambda: now[0])

    def at(seconds: float, event: Event) -> None:
        now[0] = 100.0 + seconds
        recording(event)

    at(1, ImageStarted("r/a:1", ("a",), "r/a:1", ("pip: ruff",)))
    at(1, ImageStarted("r/b:1", (EVIL,), "r/b:1", ()))
    at(4, StepFinished("r/a:1", "sha256:1", "pip: ruff", cached=False, seconds=2.5))
    at(4, StepFinished("r/b:1", "sha256:1", "pip: ruff", cached=False, seconds=2.5))
    at(5, StepFinished("r/b:1", "sha256:2", EVIL, cached=False, seconds=9.0, error=EVIL))
    at(6, StepFinished("r/cache", "sha256:3", "exporting cache", cached=True, seconds=0.0))
    at(7, ImageFinished("r/a:1", ("a",), "r/a:1", "sha256:m", 6.0))
    at(8, ImageFinished("r/b:1", (EVIL,), "r/b:1", None, 7.0, error=EVIL))
    at(9, Notice("done"))
    return recording, passed


def test_times_are_noted_and_events_passed_on() -> None:
    recording, passed = recorded()
    document = recording.document()
    assert len(passed) == 9
    assert [(item["begin"], item["end"], item["error"]) for item in document["images"]] == [
        (1.0, 7.0, None),
        (1.0, 8.0, EVIL),
    ]
    assert [(item["name"], item["begin"], item["end"], item["cached"]) for item in document["steps"]] == [
        ("pip: ruff", 1.5, 4.0, False),
        (EVIL, 0.0, 5.0, False),
        ("exporting cache", 6.0, 6.0, True),
    ]
    assert document["seconds"] == 9.0
    assert Recording(passed.append).is_empty


def test_a_build_is_drawn_with_its_images_and_their_steps() -> None:
    record = BuildRecord("b1", 100.0, json.dumps(recorded()[0].document()))
    page = build_body(record)
    assert EVIL not in page
    order = [page.index(name) for name in ("<title>r/a:1: 6 s", "<title>pip: ruff: 2.5 s", "<title>r/b:1", "exporting")]
    assert order == sorted(order)
    assert page.count("pip: ruff: 2.5 s") == 1
    assert page.count("class='bar failed'") == 3, "an image, a step, and the key"
    assert "2 images, 1 not built" in page
    listed = builds_list([record])
    assert "<a href='/builds/b1'>" in listed
    assert "2 images, 1 not built" in listed
    assert "Nothing was built" in builds_list([])
