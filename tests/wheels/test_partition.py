"""Which wheels make one layer together."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from flytebuild.spec.layers import Pin
from flytebuild.wheels.partition import HEAVY, LIMIT, partition

NAMES = [f"p{number:02}" for number in range(60)]


def pin(name: str, size: int | None = 1) -> Pin:
    return Pin(name, "1", f"{name}-1-py3-none-any.whl", "1" * 64, f"https://i.example/{name}", size)


def names(groups: tuple[tuple[Pin, ...], ...]) -> list[list[str]]:
    return [[item.name for item in group] for group in groups]


def test_a_heavy_wheel_is_alone_and_the_others_of_a_layer_are_together() -> None:
    declared = [[pin("torch", HEAVY), pin("b"), pin("numpy", HEAVY + 1), pin("a")], [pin("d"), pin("c", HEAVY - 1)]]
    first, second = partition(declared)
    assert names(first) == [["numpy"], ["torch"], ["a", "b"]]
    assert names(second) == [["c", "d"]]


def test_a_wheel_of_unknown_size_is_light() -> None:
    assert names(partition([[pin("a", None), pin("b", HEAVY)]])[0]) == [["b"], ["a"]]


def test_nothing_is_no_layer() -> None:
    assert partition([[], [pin("a")]]) == ((), ((pin("a"),),))


def test_where_there_are_too_many_the_lightest_join_the_others() -> None:
    declared = [[pin(name, HEAVY + number) for number, name in enumerate(NAMES[:4])], [pin("z")]]
    first, second = partition(declared, limit=4)
    assert names(first) == [["p02"], ["p03"], ["p00", "p01"]]
    assert names(second) == [["z"]]


def test_of_equal_ones_the_last_by_name_joins_first() -> None:
    first, _ = partition([[pin("a", HEAVY), pin("b", HEAVY), pin("c", HEAVY)], [pin("z")]], limit=3)
    assert names(first) == [["a"], ["b", "c"]]


def test_a_package_that_a_later_layer_has_in_another_version_is_another_wheel() -> None:
    newer = Pin("a", "2", "a-2-py3-none-any.whl", "2" * 64, size=1)
    assert partition([[pin("a", HEAVY)], [newer]]) == (((pin("a"),),), ((newer,),))


DECLARED = st.lists(
    st.lists(st.builds(pin, st.sampled_from(NAMES), st.integers(HEAVY - 9, HEAVY + 9)), unique_by=lambda one: one.name),
    max_size=6,
)


@given(DECLARED)
def test_every_pin_is_in_one_group_of_its_layer(declared: list[list[Pin]]) -> None:
    found = partition(declared)
    for pins, groups in zip(declared, found, strict=True):
        assert sorted(item.name for group in groups for item in group) == sorted(item.name for item in pins)
    assert sum(map(len, found)) <= max(LIMIT, len(declared))


@given(DECLARED, st.integers(0, 99))
def test_the_order_within_a_layer_counts_for_nothing(declared: list[list[Pin]], seed: int) -> None:
    shuffled = [random.Random(seed).sample(pins, len(pins)) for pins in declared]
    assert partition(shuffled) == partition(declared)
