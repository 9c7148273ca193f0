"""The walk over `depends_on`."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytebuild.errors import DependencyCycleError
from flytebuild.graph import closure

NAMES = [f"e{number}" for number in range(8)]


@st.composite
def acyclic(draw: st.DrawFn) -> dict[str, list[str]]:
    """A graph whose edges lead to earlier names only."""
    return {
        name: draw(st.lists(st.sampled_from(NAMES[:index]), unique=True)) if index else []
        for index, name in enumerate(NAMES)
    }


def reachable(edges: dict[str, list[str]], root: str) -> set[str]:
    return {root}.union(*(reachable(edges, name) for name in edges[root]))


@given(acyclic(), st.sets(st.sampled_from(NAMES), min_size=1))
def test_everything_reachable_and_nothing_else_dependencies_first(edges: dict[str, list[str]], roots: set[str]) -> None:
    found = closure(edges, sorted(roots))
    assert set(found) == set().union(*(reachable(edges, root) for root in roots))
    assert len(found) == len(set(found))
    assert all(found.index(needed) < found.index(name) for name in found for needed in edges[name])


@given(acyclic(), st.sampled_from(NAMES))
def test_a_cycle_is_named(edges: dict[str, list[str]], name: str) -> None:
    first = NAMES[0]
    edges[first] = [name]
    edges[name] = [first]
    with pytest.raises(DependencyCycleError) as caught:
        closure(edges, [name])
    cycle = caught.value.cycle
    assert cycle[0] == cycle[-1]
    assert all(after in edges[before] for before, after in itertools.pairwise(cycle))


def test_a_deep_chain_needs_no_recursion() -> None:
    edges = {str(number): [str(number + 1)] for number in range(50_000)}
    assert closure(edges, ["0"])[0] == "50000"


def test_the_user_s_order_is_kept() -> None:
    assert closure({"main": ["b", "a"], "b": ["c"]}, ["main"]) == ("c", "b", "a", "main")
