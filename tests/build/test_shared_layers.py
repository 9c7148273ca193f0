"""Wheel layers before images: looked for, made, and left to the images where one fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from flytebuild.build.cache import RemoteCache
from flytebuild.build.cache.keys import key_together, keys_of_state, wheel_layers
from flytebuild.build.cache.lookup import IMPORTS, Found
from flytebuild.build.shared_layers import Making, make_first
from flytebuild.buildkit._pb.control_pb2 import StatusResponse, Vertex
from flytebuild.buildkit._pb.ops_pb2 import Op
from flytebuild.buildkit.failure import Failure
from flytebuild.buildkit.progress import Progress
from flytebuild.buildkit.solve import Cache, SolveError
from flytebuild.events import Event, Notice, ignore
from flytebuild.llb.file import make_folder
from flytebuild.llb.source import image
from flytebuild.llb.state import State
from flytebuild.llb.wheels import wheel_layer
from flytebuild.plan import ImagePlan
from flytebuild.registry.client import MANIFEST_TYPES, RegistryClient
from flytebuild.registry.content import Blob, Manifest
from flytebuild.registry.reference import parse
from flytebuild.spec.layers import Pin, Pinned, WheelLayer
from tests.samples import AMD64, ARM64, UV, made_of


def layer(name: str) -> WheelLayer:
    pin = Pin(name, "1", f"{name}-1-py3-none-any.whl", "1" * 64, f"https://i.example/{name}.whl")
    return WheelLayer((pin,), UV, "3.11", AMD64, "/opt/venv")


@dataclass
class Solver:
    """Fails the layer of a name, and notes what results were asked for and what they were written to."""

    fails: str = ""
    solved: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)

    async def solve(self, work: Any, *_: Any, exports: Sequence[Cache] = (), **__: Any) -> Mapping[str, str]:
        # The last operation says which result is wanted.
        (wanted,) = Op.FromString(work.ops[-1]).inputs
        self.solved.append(work.metadata[wanted.digest].description["llb.customname"])
        if self.solved[-1] == f"layer of wheel: {self.fails} 1":
            raise SolveError(Failure("no such wheel"))
        self.written += [f"{item.attrs['ref']} {item.attrs['mode']}" for item in exports]
        return {}


def content_of(name: str) -> tuple[bytes, bytes]:
    """The manifest that is there under a name, and its config."""
    config = json.dumps({"records": [{"digest": name}]}).encode()
    blob = Blob.of(config)
    document = {"mediaType": MANIFEST_TYPES[0], "layers": [], "config": {"digest": blob.digest, "size": blob.size}}
    return Manifest.of(document).content, config


@dataclass
class Registry:
    """Has a manifest of its own under every tag, but for blobs of those that are `lost`; notes which are put there."""

    lost: set[str] = field(default_factory=set)
    put: list[str] = field(default_factory=list)
    configs: dict[str, bytes] = field(default_factory=dict)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        *_, kind, name = request.url.path.split("/")
        if request.method == "POST":
            return httpx.Response(202, headers={"location": "/v2/cache/blobs/uploads/1"})
        if request.method == "PUT":
            self.put += [name] if kind == "manifests" else []
            self.lost.discard(name)
            return httpx.Response(201)
        if request.method == "HEAD":
            return httpx.Response(404 if name in {Blob.of(content_of(tag)[1]).digest for tag in self.lost} else 200)
        if kind == "manifests":
            name = WHOLE if name == HELD.digest else name
            manifest, config = content_of(name)
            self.configs[Blob.of(config).digest] = config
            return httpx.Response(200, content=manifest)
        return httpx.Response(200, content=self.configs[name])


EMPTY = "an empty virtual environment for Python 3.11"
WHOLE = "all of them"
HELD = parse(f"r.example/cache@{Blob.of(content_of(WHOLE)[0]).digest}")
OTHERS = {f"v-{number}": parse(f"r.example/cache@sha256:{number:064}") for number in range(IMPORTS)}


def cache(found: Found, registry: Registry) -> RemoteCache:
    client = RegistryClient(httpx.MockTransport(registry))
    return RemoteCache(client, parse("r.example/cache"), "zstd", False, found)


def states(*names: str) -> list[State]:
    return [wheel_layer(layer(name)) for name in names]


def tag(*names: str) -> str:
    return key_together([key for state in states(*names) for key in keys_of_state(state)]).tag


def make(
    known: RemoteCache, names: Sequence[str], solver: Solver, beginnings: Sequence[State] = ()
) -> tuple[RemoteCache, list[str]]:
    """What comes of making these layers first, and what the user is told."""
    events = list[Event]()

    async def act() -> RemoteCache:
        async with known.client:
            return await make_first(
                known, states(*names), beginnings, Making(solver, asyncio.Semaphore(2), events.append)
            )

    return asyncio.run(act()), [event.message for event in events if isinstance(event, Notice)]


def test_layers_that_are_there_together_are_imported_first_and_not_made() -> None:
    solver, registry, whole = Solver(), Registry(), tag("a", "b")
    known = Found({**OTHERS, whole: HELD}, frozenset({whole, tag("a"), tag("b")}))
    found, told = make(cache(known, registry), "ab", solver)
    assert (solver.solved, told, registry.put) == ([], [], [])
    refs = [item.attrs["ref"] for item in found.imports]
    assert refs == [str(HELD), *map(str, list(OTHERS.values())[:-1])]


def test_each_layer_is_written_alone_and_then_one_manifest_of_all() -> None:
    solver, registry = Solver(), Registry()
    known = Found({tag("b"): parse("r.example/cache:b")}, frozenset({tag("b")}))
    base = image("r.example/base@sha256:" + "0" * 64, AMD64, name="base")
    begin = make_folder(base, "/opt", AMD64, name="environment")
    found, told = make(cache(known, registry), "abc", solver, [base, begin])
    # Of a base alone there is nothing to make, what layers are made on is made once, and before them.
    fetched = [f"download {name}-1-py3-none-any.whl" for name in "ac"]
    assert solver.solved == ["environment", *fetched, EMPTY, "layer of wheel: a 1", "layer of wheel: c 1"]
    assert solver.written == [f"r.example/cache:{tag(name)} min" for name in "ac"]
    assert told == ["before the images come 2 layers, to be mounted in their repositories"]
    assert registry.put == [tag("a", "b", "c")]
    assert all(found.has(state) for state in states("a", "b", "c"))
    # What was found of them alone need not be imported any more.
    (together,) = found.layers
    assert together.tag == tag("a", "b", "c")
    assert [item.attrs["ref"] for item in found.imports] == [str(found.layers[together])]


def test_a_layer_that_fails_is_left_to_the_images_and_the_others_are_imported() -> None:
    solver, registry = Solver(fails="a"), Registry()
    found, _ = make(cache(Found(), registry), "abc", solver)
    assert solver.solved[3:] == [EMPTY, *(f"layer of wheel: {name} 1" for name in "abc")]
    assert registry.put == [tag("b", "c")]
    assert [found.has(state) for state in states("a", "b", "c")] == [False, True, True]
    assert [item.attrs["ref"] for item in found.imports] == [str(*found.layers.values())]


def test_where_all_layers_fail_there_is_nothing_to_import() -> None:
    registry = Registry()
    found, _ = make(cache(Found(), registry), "a", Solver(fails="a"))
    assert (found.imports, registry.put) == ((), [])


def test_layers_that_the_registry_has_lost_are_made_again() -> None:
    whole, own = tag("a", "b"), tag("b")
    solver, registry = Solver(), Registry(lost={WHOLE, own})
    known = Found({whole: HELD}, frozenset({whole, tag("a"), own}))
    found, told = make(cache(known, registry), "ab", solver)
    assert solver.written == [f"r.example/cache:{own} min"]
    assert told == ["`r.example/cache` has lost the layer of wheel: b 1, which is made again"]
    assert registry.put == [whole]
    assert all(found.has(state) for state in states("a", "b"))


def test_what_is_lost_and_cannot_be_made_is_not_there() -> None:
    solver, registry = Solver(fails="b"), Registry(lost={tag("b")})
    found, _ = make(cache(Found({}, frozenset({tag("a"), tag("b")})), registry), "ab", solver)
    assert [found.has(state) for state in states("a", "b")] == [True, False]
    assert registry.put == [tag("a")]


def test_where_a_registry_does_not_say_nothing_is_taken_for_lost() -> None:
    def silent(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503)

    solver, whole = Solver(), tag("a", "b")
    known = Found({whole: HELD}, frozenset({whole, tag("a"), tag("b")}))
    client = RegistryClient(httpx.MockTransport(silent))
    found, told = make(RemoteCache(client, parse("r.example/cache"), "zstd", False, known), "ab", solver)
    assert (solver.solved, told) == ([], [])
    assert [item.attrs["ref"] for item in found.imports] == [str(HELD)]


def test_layers_whose_manifests_cannot_be_read_are_told() -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        return httpx.Response(500)

    before = RemoteCache(RegistryClient(httpx.MockTransport(broken)), parse("r.example/cache"), "zstd", False, Found())
    found, told = make(before, "a", Solver())
    assert found == before
    assert told[1:] == ["wheel layers cannot be imported from `r.example/cache`: `r.example` answers with status 500"]


@dataclass
class Relay:
    """Ends a solve that has told of its export when the next one has begun."""

    begun: list[asyncio.Event] = field(default_factory=list)

    async def solve(self, _work: Any, _export: Any, progress: Progress, *_: Any, **__: Any) -> Mapping[str, str]:
        next_one = asyncio.Event()
        for waiting in self.begun:
            waiting.set()
        self.begun.append(next_one)
        export = StatusResponse(vertexes=[Vertex(digest="sha256:1", name="exporting cache to registry")])
        export.vertexes[0].started.GetCurrentTime()
        progress.update(export)
        if len(self.begun) == 1:
            await asyncio.wait_for(next_one.wait(), 60)
        return {}


def test_a_layer_is_made_while_the_one_before_it_is_written() -> None:
    solver = Relay()

    async def act() -> None:
        making = Making(solver, asyncio.Semaphore(1), ignore)
        await asyncio.gather(*(making.make(state) for state in states("a", "b")))
        assert not making.turns.locked()

    asyncio.run(act())
    assert len(solver.begun) == 2


@dataclass
class Endless:
    """Solves without an end; `begun` once there is one."""

    begun: asyncio.Event = field(default_factory=asyncio.Event)

    async def solve(self, *_: Any, **__: Any) -> Mapping[str, str]:
        self.begun.set()
        await asyncio.Event().wait()
        return {}


def test_nothing_goes_on_once_it_is_cancelled() -> None:
    async def act() -> set[asyncio.Task[Any]]:
        solver = Endless()
        making = Making(solver, asyncio.Semaphore(2), ignore)
        async with RegistryClient(httpx.MockTransport(Registry())) as client:
            empty = RemoteCache(client, parse("r.example/cache"), "zstd", False, Found())
            first = asyncio.create_task(make_first(empty, states("a", "b"), (), making))
            await asyncio.wait_for(solver.begun.wait(), 60)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert asyncio.run(act()) == set()


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
