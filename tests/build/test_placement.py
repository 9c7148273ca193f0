"""Images that share what is heavy meet at one builder."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from flytebuild.build.placement import affinities, choose, preference
from flytebuild.plan import ImagePlan, LayerPlan

NAMES = st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=8, unique=True)


def image(name: str, *layers: str) -> ImagePlan:
    """Layers are `kind:digest`."""
    made = tuple(
        LayerPlan(kind, digest, digest, "missing", "") for kind, digest in (item.split(":") for item in layers)
    )
    return ImagePlan(name, "missing", "", (name,), name, made)


def test_the_heaviest_layer_decides_and_of_equals_the_one_that_is_shared() -> None:
    found = affinities(
        [
            image("a", "base:b", "pip:torch", "pip:six", "copy:src1"),
            image("b", "base:b", "pip:torch", "pip:idna", "copy:src2"),
            image("c", "base:b", "copy:src3"),
        ]
    )
    assert found == {"a": "torch", "b": "torch", "c": "b"}


def test_what_was_recorded_counts_more_than_a_guess() -> None:
    seconds = {"six": 100.0}
    images = [image("a", "pip:torch", "pip:six"), image("b", "pip:torch")]
    assert affinities(images, lambda layer: seconds.get(layer.digest, 1.0)) == {"a": "six", "b": "torch"}


@given(NAMES, st.text())
def test_everyone_is_in_an_order_that_depends_on_nothing_else(names: list[str], affinity: str) -> None:
    order = preference(affinity, names)
    assert sorted(order) == sorted(names)
    assert order == preference(affinity, list(reversed(names)))


@given(NAMES, st.text(min_size=6), st.lists(st.text(), unique=True, max_size=30))
def test_a_builder_that_comes_takes_only_what_prefers_it(names: list[str], new: str, affinities: list[str]) -> None:
    for affinity in affinities:
        before, after = preference(affinity, names)[0], preference(affinity, [*names, new])[0]
        assert after in (before, new)


def test_a_builder_gets_no_more_than_a_little_above_its_share() -> None:
    load: Counter[str] = Counter()
    for _ in range(16):
        load[choose(("a", "b", "c", "d"), load)] += 1
    assert max(load.values()) <= 5
    assert sum(load.values()) == 16


def test_two_images_may_meet() -> None:
    load: Counter[str] = Counter()
    first = choose(("a", "b"), load)
    load[first] += 1
    assert choose(("a", "b"), load) == first
