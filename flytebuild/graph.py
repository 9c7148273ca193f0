"""Environments and the walk over `depends_on`: which are needed, and in which order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from flytebuild.errors import DependencyCycleError
from flytebuild.spec.model import Definition


class EnvironmentNode(Struct, frozen=True):
    """One environment. `depends_on` and `tasks` keep the user's order; tasks are `environment.task`."""

    name: str
    file: str | None
    depends_on: tuple[str, ...]
    tasks: tuple[str, ...]
    image: Definition


def closure(edges: Mapping[str, Sequence[str]], roots: Iterable[str]) -> tuple[str, ...]:
    """Everything reachable from `roots`, dependencies before those who need them; linear in edges.

    `edges` maps a name to the names that it depends on, in the user's order, which the result keeps. Raises
    DependencyCycleError with the names of the first cycle met.
    """
    done: dict[str, None] = {}
    for root in roots:
        if root in done:
            continue
        path: dict[str, None] = {root: None}
        pending = [iter(edges.get(root, ()))]
        while pending:
            following = next(pending[-1], None)
            if following is None:
                pending.pop()
                done[path.popitem()[0]] = None
            elif following in path:
                names = list(path)
                raise DependencyCycleError([*names[names.index(following) :], following])
            elif following not in done:
                path[following] = None
                pending.append(iter(edges.get(following, ())))
    return tuple(done)


def without(nodes: Sequence[EnvironmentNode], names: Collection[str]) -> tuple[EnvironmentNode, ...]:
    """A closure without some environments and all that depend on them; `nodes` has dependencies first."""
    gone = set(names)
    for node in nodes:
        if not gone.isdisjoint(node.depends_on):
            gone.add(node.name)
    return tuple(node for node in nodes if node.name not in gone)
