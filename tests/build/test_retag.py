"""Images that are named instead of built, and what becomes of them when that cannot be."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

from flytebuild.build.builder import Outcome
from flytebuild.build.retag import retag, retag_built
from flytebuild.build.stores import Destination
from flytebuild.errors import RegistryUnavailableError, StepFailure
from flytebuild.events import Event, ImageFinished, Notice
from flytebuild.plan import ImagePlan


def image(name: str, source: str) -> ImagePlan:
    return ImagePlan(name, "missing", "not there", (f"env {name}",), copied_from=source)


@dataclass
class Registry:
    """Refuses to copy from what is called `gone`."""

    copied: list[tuple[str, str]] = field(default_factory=list)

    async def copy(self, image: ImagePlan, source: str) -> str:
        if source == "gone":
            raise RegistryUnavailableError("`gone` cannot be copied")
        self.copied.append((source, image.reference))
        return "sha256:1"


def test_what_cannot_be_named_is_built() -> None:
    events: list[Event] = []
    stores = Registry()
    images = [image("a", "there"), image("b", "gone")]
    named, rest = asyncio.run(retag(images, cast("Any", stores), events.append))
    assert [(item.image.reference, item.manifest) for item in named] == [("a", "sha256:1")]
    assert stores.copied == [("there", "a")]
    assert [(item.reference, item.copied_from, item.must_be_built) for item in rest] == [("b", None, True)]
    (ended, notice) = events
    assert isinstance(ended, ImageFinished)
    assert ended.copied_from == "there"
    assert notice == Notice("`b` is built, since it cannot be re-tagged: `gone` cannot be copied")


def test_what_was_to_be_named_from_a_build_shares_its_end() -> None:
    failure = StepFailure("run: false", "exit code 1", 1, ("log",), ("env x",), origin="main.py:3")
    built = {
        "good": Outcome(image("good", ""), manifest="sha256:1"),
        "bad": Outcome(image("bad", ""), failure=failure, vertex="sha256:v"),
        "stopped": Outcome(image("stopped", ""), is_cancelled=True),
        "gone": Outcome(image("gone", ""), manifest="sha256:1"),
    }
    events: list[Event] = []
    images = [image(f"from {name}", name) for name in built]
    outcomes = asyncio.run(retag_built(images, built, cast("Destination", Registry()), events.append))
    found = {item.image.copied_from or "gone": item for item in outcomes}
    assert found["good"].manifest == "sha256:1"
    # Told as one failure with the one that it comes from.
    assert found["bad"].vertex == "sha256:v"
    assert found["bad"].failure is not None
    assert found["bad"].failure.environments == ("env from bad",)
    assert found["bad"].failure.step == "run: false"
    assert found["stopped"].is_cancelled
    assert found["gone"].failure is not None
    assert found["gone"].failure.message == "`gone` cannot be copied"
    assert not any(isinstance(event, Notice) for event in events)
