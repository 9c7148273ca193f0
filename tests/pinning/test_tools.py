"""The images that make wheel layers: as the lock has them, whatever can be reached."""

from __future__ import annotations

import asyncio
from pathlib import Path

from msgspec.structs import replace

from flytebuild.config import Config
from flytebuild.events import Event, Notice
from flytebuild.pinning import locked, unlocked
from flytebuild.pinning.locking import with_tools
from flytebuild.plan import Observation
from flytebuild.spec.images import Platform, ResolvedImage
from flytebuild.spec.layers import Pin
from flytebuild.wheels.lock import Lock, LockedImage, LockedLayer
from flytebuild.wheels.questions import questions
from flytebuild.wheels.recipe import tool_of
from tests.samples import AMD64, ARM64, UV, made_of, pip

TOOL = tool_of("3.11")
DIGEST = f"sha256:{'a' * 64}"
SPECS = {"env": {AMD64: made_of(pip("six"))}}


def lock(*images: LockedImage) -> Lock:
    """A lock that has the packages of `SPECS`."""
    (question,) = questions(SPECS["env"][AMD64])
    pins = (Pin("six", "1", "six-1-py3-none-any.whl", "1" * 64, "https://i.example/six.whl"),)
    layer = LockedLayer("pip: six", str(AMD64), question.fingerprint, ("env",), pins, python="3.11")
    return Lock(images=images, layers=(layer,))


def completed(before: Lock, answer: ResolvedImage) -> tuple[Lock, list[str], list[str]]:
    """A lock with its tools, which images were looked up, and what was told."""
    asked, told = list[str](), list[Event]()

    async def resolve(name: str, platform: Platform) -> ResolvedImage:
        asked.append(f"{name} {platform}")
        return answer

    made = asyncio.run(with_tools(lock(), SPECS, before, resolve, told.append))
    return made, asked, [event.message for event in told if isinstance(event, Notice)]


def test_a_lock_gets_the_image_that_makes_its_wheel_layers() -> None:
    made, asked, told = completed(Lock(), replace(UV, reference=TOOL, digest=DIGEST))
    assert made.images == (LockedImage(TOOL, str(AMD64), DIGEST),)
    assert (asked, told) == ([f"{TOOL} {AMD64}"], [])


def test_one_that_it_has_stays_and_nobody_is_asked() -> None:
    known = LockedImage(TOOL, str(AMD64), DIGEST)
    made, asked, told = completed(lock(known), replace(UV, digest=None, problem="no answer"))
    assert (made.images, asked, told) == ((known,), [], [])


def test_of_one_that_is_not_known_it_is_told() -> None:
    made, _, told = completed(Lock(), replace(UV, digest=None, problem="no answer"))
    assert made.images == ()
    assert told == [
        f"`{TOOL}`, which makes wheel layers, is not locked: no answer; packages are installed by steps until "
        "`flytebuild lock` finds it"
    ]


def test_what_a_plan_takes_is_what_the_lock_has() -> None:
    config = Config(lock=Path("/srv/flytebuild.lock"), mirrors={"ghcr.io": "mirror.example/ghcr.io"})
    found = lock(LockedImage(TOOL, str(AMD64), DIGEST))
    taken = locked.tool(config, found, TOOL, AMD64)
    place = TOOL.replace("ghcr.io", "mirror.example/ghcr.io").partition(":")[0]
    assert (taken.reference, taken.digest, taken.location) == (TOOL, DIGEST, f"{place}@{DIGEST}")
    missing = locked.tool(config, found, TOOL, ARM64)
    assert (missing.digest, missing.problem) == (None, "it is not in `flytebuild.lock`")


def test_without_a_lock_it_is_told_where_images_are_others_for_want_of_it() -> None:
    told = list[Event]()

    class Outside:
        async def platform(self) -> Platform | None:
            return None

        async def image(self, name: str, platform: Platform | None, digest: str | None = None) -> ResolvedImage:
            is_there = platform == AMD64
            return replace(UV, reference=name, **({} if is_there else {"digest": None, "problem": "no answer"}))

        async def observe(self, reference: str) -> Observation:
            raise AssertionError(reference)

    found = [asyncio.run(unlocked.tool(Outside(), TOOL, item, told.append)) for item in (AMD64, ARM64)]
    assert [image.is_resolved for image in found] == [True, False]
    assert told == [Notice(f"`{TOOL}`, which makes wheel layers, is not known, so images have none: no answer")]
