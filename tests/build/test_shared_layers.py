"""Wheel layers before images: looked for, made, and left to the images where one fails."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from flytebuild.build.cache import RemoteCache
from flytebuild.build.cache.keys import key_of_state
from flytebuild.build.cache.lookup import IMPORTS, Found
from flytebuild.build.shared_layers import make_first, wheel_layers
from flytebuild.buildkit.failure import Failure
from flytebuild.buildkit.solve import SolveError
from flytebuild.events import Event, Notice, ignore
from flytebuild.facts import Absent, Fact, Present
from flytebuild.llb.state import State
from flytebuild.llb.wheels import wheel_layer
from flytebuild.plan import ImagePlan
from flytebuild.registry.reference import Reference, parse
from flytebuild.spec.layers import Pin, Pinned, WheelLayer
from tests.samples import AMD64, ARM64, UV, made_of

HELD = "sha256:" + "9" * 64
OTHERS = tuple(parse(f"r.example/cache@sha256:{number:064}") for number in range(IMPORTS))


def layer(name: str) -> WheelLayer:
    pin = Pin(name, "1", f"{name}-1-py3-none-any.whl", "1" * 64, f"https://i.example/{name}.whl")
    return WheelLayer((pin,), UV, "3.11", AMD64, "/opt/venv")


@dataclass
class Registry:
    """Has one manifest under every tag, or none."""

    fact: Fact

    async def presence(self, reference: Reference) -> Fact:
        return self.fact


@dataclass
class Solver:
    """Fails what has a name in it."""

    fails: str = ""
    solved: list[str] = field(default_factory=list)

    async def solve(self, work: Any, *_: Any, imports: Sequence[Any] = (), **__: Any) -> Mapping[str, str]:
        names = [item.description["llb.customname"] for item in work.metadata.values()]
        self.solved += [name for name in names if name.startswith("wheel: ")]
        if self.fails and f"wheel: {self.fails} 1 (Python 3.11)" in names:
            raise SolveError(Failure("no such wheel"))
        return {}


def cache(fact: Fact) -> RemoteCache:
    return RemoteCache(Registry(fact), parse("r.example/cache"), "zstd", False, Found(OTHERS))  # type: ignore[arg-type]


def states(*names: str) -> list[State]:
    return [wheel_layer(layer(name)) for name in names]


def test_layers_that_are_there_are_imported_first_and_not_made() -> None:
    solver, events = Solver(), list[Event]()
    found = asyncio.run(make_first(cache(Present(HELD)), states("a", "b"), solver, 2, events.append))
    assert (solver.solved, events) == ([], [])
    assert found.found.manifests == (parse(f"r.example/cache@{HELD}"), *OTHERS[:-1])


def test_a_layer_that_fails_is_left_to_the_images_and_stops_no_other() -> None:
    solver, events = Solver(fails="a"), list[Event]()
    before = cache(Absent())
    found = asyncio.run(make_first(before, states("a", "b"), solver, 1, events.append))
    assert found == before
    assert solver.solved == ["wheel: a 1 (Python 3.11)", "wheel: b 1 (Python 3.11)"]
    assert [event.message for event in events if isinstance(event, Notice)] == [
        "before the images come 2 wheel layers, to be mounted in their repositories"
    ]


def test_a_layer_that_another_manifest_has_is_not_made_again() -> None:
    key = key_of_state(wheel_layer(layer("a")))
    assert key
    known = replace(cache(Absent()), found=Found(OTHERS, frozenset({key.tag})))
    solver = Solver(fails="b")
    asyncio.run(make_first(known, states("a", "b"), solver, 1, ignore))
    assert solver.solved == ["wheel: b 1 (Python 3.11)"]


def test_every_layer_of_all_images_once() -> None:
    shared, own, other = layer("shared"), layer("own"), replace(layer("shared"), platform=ARM64)
    specs = (
        made_of(Pinned((*shared.pins, *own.pins), "layers", layers=(shared, own))),
        made_of(Pinned(shared.pins, "layers", layers=(shared,))),
        made_of(Pinned(other.pins, "layers", layers=(other,)), platform=ARM64),
    )
    images = [ImagePlan(f"r.example/{number}", "missing", "", ("env",), spec=spec) for number, spec in enumerate(specs)]
    found = wheel_layers(images)
    assert {platform: set(layers) for platform, layers in found.items()} == {AMD64: {shared, own}, ARM64: {other}}
