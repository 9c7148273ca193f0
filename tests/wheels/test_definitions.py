"""What a lock installs in images that nobody has looked for: only what it has been locked for."""

from __future__ import annotations

from flytebuild.spec.layers import Pin, Pinned
from flytebuild.spec.model import ImageDefinition, SetEnv
from flytebuild.wheels.definitions import with_locked
from flytebuild.wheels.lock import Lock, LockedImage, LockedLayer
from flytebuild.wheels.questions import questions
from tests.samples import AMD64, ARM64, BASE, definition, made_of, pip

SIX = Pin("six", "1.16.0", "six-1.16.0-py2.py3-none-any.whl", "6" * 64)


def lock(platform: object = AMD64, digest: str | None = BASE.digest) -> Lock:
    """Of an image with `pip: six`."""
    (question,) = questions(made_of(pip("six")))
    layer = LockedLayer("pip: six", str(platform), question.fingerprint, (), (SIX,))
    return Lock("", (LockedImage(BASE.reference, str(platform), digest or ""),), (layer,))


def locked(image: ImageDefinition) -> list[tuple[Pin, ...] | None]:
    """The wheels of each part; None for one that stays."""
    return [item.part.pins if isinstance(item.part, Pinned) else None for item in image.parts]


def test_layers_are_found_by_all_that_decides_them() -> None:
    env = SetEnv((("A", "b"),))
    assert locked(with_locked(definition(env, pip("six"), pip("rich")), lock())) == [None, (SIX,), None]
    for image in (definition(pip("six>1")), definition(pip("rich"), pip("six")), definition(pip("six"), python="3.12")):
        assert with_locked(image, lock()) is image
    index = SetEnv((("UV_INDEX_URL", "https://other.example/simple"),))
    assert locked(with_locked(definition(index, pip("six")), lock())) == [None, None]
    moved = lock(digest="sha256:" + "9" * 64)
    assert locked(with_locked(definition(pip("six")), moved)) == [None]


def test_the_first_platform_counts_that_the_lock_is_for() -> None:
    image = definition(pip("six"))
    assert locked(with_locked(image, lock(), [ARM64])) == [None]
    assert locked(with_locked(image, lock(), [ARM64, AMD64])) == [(SIX,)]
    assert locked(with_locked(image, Lock())) == [None]


def test_what_an_image_says_of_its_layer_stays_with_it() -> None:
    (placed,) = with_locked(definition(pip("six")), lock()).parts
    assert (placed.origin, placed.part.kind) == ("main.py:1", "pinned")
    assert isinstance(placed.part, Pinned)
    assert placed.part.asked == pip("six")


def test_what_only_the_base_knows_is_no_obstacle_elsewhere() -> None:
    assert locked(with_locked(definition(SetEnv((("A", "$NOBODY"),)), pip("six")), lock())) == [None, (SIX,)]
    index = SetEnv((("UV_INDEX_URL", "${OF_THE_BASE:-https://i.example}"),))
    assert locked(with_locked(definition(index, pip("six")), lock())) == [None, None]
    assert locked(with_locked(definition(SetEnv((("A", "${A!}"),)), pip("six")), lock())) == [None, None]
