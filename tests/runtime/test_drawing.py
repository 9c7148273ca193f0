"""A run's environments with the layers of their images, as a page."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from flytebuild.build.labels import labels
from flytebuild.runtime.model import Action, Attempt, Phase, Transition
from flytebuild.runtime.web.drawing import environments_page, images_of, remembered
from flytebuild.spec.digests import digests
from tests.runtime import samples
from tests.samples import spec

SPECS = {"sha256:one": spec("ruff"), "sha256:two": spec("ruff", "pytest")}
EVIL = "<script>alert('x')</script>"


async def known(image: str) -> Mapping[str, str] | None:
    found = SPECS.get(image)
    return labels(found, digests(found)) if found else {} if image == "python:3.11" else None


def action(name: str, parent: str | None, environment: str, image: str, image_id: str | None) -> Action:
    attempt = Attempt(1, "s3://x", (Transition(Phase.SUCCEEDED, samples.NOW),), image, image_id)
    made = samples.action(name, parent, spec=samples.task_spec(f"{environment}.work"))
    assert made.task is not None
    made.task.environment.name = environment
    return replace(made, phase=Phase.SUCCEEDED, attempts=(attempt,), ended=samples.NOW)


def page(*actions: Action) -> str:
    return asyncio.run(environments_page(samples.run(), actions, known, "/v2/back"))


def test_what_images_share_is_drawn_once() -> None:
    text = page(
        action("a0", None, "main", "r/main:1", "sha256:two"),
        action("c1", "a0", "fold", "r/fold:1", "sha256:one"),
        action("c2", "a0", "outside", "python:3.11", None),
        action("c3", "c1", "gone", "r/gone:1", "sha256:gone"),
    )
    assert text.count("pip: ruff") == text.count("pip: pytest") == 1
    assert "in 2 images" in text
    for environment in ("main", "fold", "outside", "gone"):
        assert f'<span class="environment">{environment}</span>' in text
    assert "the engine does not have it any more" in text
    assert text.count("<path d=") == 3, "main calls fold and outside, and fold calls gone"
    assert '<a href="/v2/back">' in text


def test_environments_that_call_each_other_are_drawn_too() -> None:
    text = page(
        action("a0", None, "main", "r/main:1", "sha256:two"),
        action("c1", "a0", "fold", "r/fold:1", "sha256:one"),
        action("c2", "c1", "main", "r/main:1", "sha256:two"),
    )
    assert text.count("<path d=") == 1


def test_texts_from_outside_are_no_elements() -> None:
    assert EVIL not in page(action("a0", None, EVIL, EVIL, "sha256:gone"))


def test_a_run_that_has_not_begun() -> None:
    assert "The environments of r1" in page()


def test_what_an_image_is_made_of_is_asked_for_once() -> None:
    asked = list[str]()

    async def ask(image: str) -> Mapping[str, str] | None:
        asked.append(image)
        return await known(image)

    async def act() -> None:
        labels_of = remembered(ask)
        actions = [
            action("a0", None, "main", "r/main:1", "sha256:two"),
            action("c1", "a0", "gone", "r/gone:1", "sha256:gone"),
            action("c2", "a0", "waits", "r/waits:1", None),
        ]
        for _ in range(2):
            found = await images_of(actions, labels_of)
        assert [layer.summary for layer in found["r/main:1"].layers][-2:] == ["pip: ruff", "pip: pytest"]
        assert found["r/gone:1"].layers == ()
        assert list(found) == ["r/main:1", "r/gone:1"]

    asyncio.run(act())
    assert asked == ["sha256:two", "sha256:gone", "sha256:gone"]
