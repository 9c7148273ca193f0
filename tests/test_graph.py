"""The walk over `depends_on`."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytebuild.errors import DependencyCycleError
from flytebuild.graph import EnvironmentNode, closure, without
from flytebuild.spec.model import ExternalImage

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


@st.composite
def anything(draw: st.DrawFn) -> dict[str, list[str]]:
    """A graph with edges wherever they fall, repeated ones, loops and cycles included."""
    return {name: draw(st.lists(st.sampled_from(NAMES), max_size=3)) for name in NAMES}


def all_ways(edges: dict[str, list[str]], way: list[str]) -> list[list[str]]:
    """Every way on from the end of one, each followed until it comes back to itself."""
    further = [all_ways(edges, [*way, name]) for name in edges[way[-1]] if name not in way]
    return [way, *itertools.chain.from_iterable(further)]


@given(anything(), st.lists(st.sampled_from(NAMES), min_size=1))
def test_the_closure_is_what_all_ways_lead_to_or_a_cycle_that_is_one(
    edges: dict[str, list[str]], roots: list[str]
) -> None:
    ways = [way for root in roots for way in all_ways(edges, [root])]
    has_cycle = any(name in way for way in ways for name in edges[way[-1]])
    if has_cycle:
        with pytest.raises(DependencyCycleError) as caught:
            closure(edges, roots)
        cycle = caught.value.cycle
        assert cycle[0] == cycle[-1]
        assert len(set(cycle)) == len(cycle) - 1
        assert all(after in edges[before] for before, after in itertools.pairwise(cycle))
        return
    found = closure(edges, roots)
    assert sorted(found) == sorted({name for way in ways for name in way})
    assert all(found.index(needed) < found.index(name) for name in found for needed in edges[name])
    assert closure(edges, list(dict.fromkeys(roots))) == found


def test_a_deep_chain_needs_no_recursion() -> None:
    edges = {str(number): [str(number + 1)] for number in range(50_000)}
    assert closure(edges, ["0"])[0] == "50000"


def test_the_user_s_order_is_kept() -> None:
    assert closure({"main": ["b", "a"], "b": ["c"]}, ["main"]) == ("c", "b", "a", "main")


@given(acyclic(), st.sets(st.sampled_from(NAMES)))
def test_without_some_all_that_need_them_are_gone_and_nothing_else(edges: dict[str, list[str]], gone: set[str]) -> None:
    image = ExternalImage("docker.io/library/x:1")
    nodes = [EnvironmentNode(name, None, tuple(edges[name]), (), image) for name in closure(edges, NAMES)]
    kept = {node.name for node in without(nodes, gone)}
    assert kept == {name for name in NAMES if gone.isdisjoint(reachable(edges, name))}
