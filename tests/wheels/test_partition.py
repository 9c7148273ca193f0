"""Which wheels make one layer together."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence

from hypothesis import given
from hypothesis import strategies as st

from flytebuild.spec.layers import Pin
from flytebuild.wheels.partition import HEAVY, LIMIT, Declared, Group, partition

NAMES = [f"p{number:02}" for number in range(60)]


def pin(name: str, size: int | None = 1) -> Pin:
    return Pin(name, "1", f"{name}-1-py3-none-any.whl", "1" * 64, f"https://i.example/{name}", size)


def parted(
    declared: Sequence[Sequence[Pin]], limit: int = LIMIT, apart: Collection[int] = (), named: Collection[str] = ()
) -> tuple[tuple[Group, ...], ...]:
    return partition([Declared(pins, frozenset(named)) for pins in declared], limit, apart)


def names(groups: tuple[tuple[Pin, ...], ...]) -> list[list[str]]:
    return [[item.name for item in group] for group in groups]


def test_a_heavy_wheel_is_alone_and_the_others_of_a_layer_are_together() -> None:
    declared = [[pin("torch", HEAVY), pin("b"), pin("numpy", HEAVY + 1), pin("a")], [pin("d"), pin("c", HEAVY - 1)]]
    first, second = parted(declared)
    assert names(first) == [["numpy"], ["torch"], ["a", "b"]]
    assert names(second) == [["c", "d"]]


def test_what_is_named_is_apart_from_what_came_along() -> None:
    companions = [pin("filelock"), pin("jinja2"), pin("mpmath")]
    (one,) = parted([[pin("torch", HEAVY), *companions, pin("click")]], named={"torch", "click"})
    (two,) = parted([[pin("torch", HEAVY), *companions, pin("wrapt"), pin("attrs")]], named={"torch", "wrapt", "attrs"})
    assert names(one) == [["torch"], ["filelock", "jinja2", "mpmath"], ["click"]]
    assert names(two) == [["torch"], ["filelock", "jinja2", "mpmath"], ["attrs", "wrapt"]]


def test_where_there_are_too_many_names_count_for_nothing() -> None:
    declared = [[pin("a"), pin("b")], [pin("c"), pin("d")]]
    assert [names(groups) for groups in parted(declared, limit=3, named="ac")] == [[["a", "b"]], [["c", "d"]]]


def test_a_wheel_of_unknown_size_is_light() -> None:
    assert names(parted([[pin("a", None), pin("b", HEAVY)]])[0]) == [["b"], ["a"]]


def test_nothing_is_no_layer() -> None:
    assert parted([[], [pin("a")]]) == ((), ((pin("a"),),))


def test_where_there_are_too_many_the_lightest_join_the_others() -> None:
    declared = [[pin(name, HEAVY + number) for number, name in enumerate(NAMES[:4])], [pin("z")]]
    first, second = parted(declared, limit=4)
    assert names(first) == [["p02"], ["p03"], ["p00", "p01"]]
    assert names(second) == [["z"]]


def test_of_equal_ones_the_last_by_name_joins_first() -> None:
    first, _ = parted([[pin("a", HEAVY), pin("b", HEAVY), pin("c", HEAVY)], [pin("z")]], limit=3)
    assert names(first) == [["a"], ["b", "c"]]


def test_a_package_that_a_later_layer_has_in_another_version_is_another_wheel() -> None:
    newer = Pin("a", "2", "a-2-py3-none-any.whl", "2" * 64, size=1)
    assert parted([[pin("a", HEAVY)], [newer]]) == (((pin("a"),),), ((newer,),))


def test_where_there_are_still_too_many_the_uppermost_have_one_together() -> None:
    declared = [[pin(name), pin(f"{name}-heavy", HEAVY)] for name in "abcde"]
    found = parted(declared, limit=3)
    assert [names(groups) for groups in found[:2]] == [[["a", "a-heavy"]], [["b", "b-heavy"]]]
    assert [names(groups) for groups in found[2:]] == [[["c", "c-heavy", "d", "d-heavy", "e", "e-heavy"]]] * 3
    # One more on top moves none of those below.
    assert parted([*declared, [pin("f")]], limit=3)[:2] == found[:2]


def test_layers_with_something_between_them_are_not_joined() -> None:
    declared = [[pin(name)] for name in "abcdef"]
    found = [names(groups) for groups in parted(declared, limit=4, apart=[0, 2, 5])]
    assert found == [[["a"]], [["b"]], [["c", "d", "e"]], [["c", "d", "e"]], [["c", "d", "e"]], [["f"]]]
    assert parted(declared, limit=1, apart=range(6)) == parted(declared)


DECLARED = st.lists(
    st.lists(st.builds(pin, st.sampled_from(NAMES), st.integers(HEAVY - 9, HEAVY + 9)), unique_by=lambda one: one.name),
    max_size=6,
)


@given(DECLARED, st.integers(1, 9), st.sets(st.integers(0, 5)), st.sets(st.sampled_from(NAMES)))
def test_every_pin_is_in_one_group_of_its_layer(
    declared: list[list[Pin]], limit: int, apart: set[int], named: set[str]
) -> None:
    found = parted(declared, limit, apart, named)
    for pins, groups in zip(declared, found, strict=True):
        assert {item.name for group in groups for item in group} >= {item.name for item in pins}
    once = list(dict.fromkeys(group for groups in found for group in groups))
    pins = [item for pins in declared for item in pins]
    if len(set(pins)) == len(pins):
        assert sum(map(len, once)) == len(pins)
    # What has nothing in it is in nobody's way, and joins nobody.
    between = sum(not pins for pins in declared)
    assert len(once) <= max(limit, 1 + len(apart) + between)


def test_no_more_layers_than_the_limit() -> None:
    found = parted([[pin(name, HEAVY), pin(f"{name}-light")] for name in NAMES])
    assert len({group for groups in found for group in groups}) == LIMIT


@given(DECLARED, st.integers(0, 99))
def test_the_order_within_a_layer_counts_for_nothing(declared: list[list[Pin]], seed: int) -> None:
    shuffled = [random.Random(seed).sample(pins, len(pins)) for pins in declared]
    assert parted(shuffled) == parted(declared)
