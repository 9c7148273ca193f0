"""Wheel layers on the real engine: the same bytes always, made once, mounted, and the same image as by steps."""

from __future__ import annotations

import hashlib
import io
import json
import re
import secrets
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from msgspec.structs import replace

from flytebuild.build.anew import executed_anew
from flytebuild.build.cache.choice import REPOSITORY
from flytebuild.buildkit.export import Export
from flytebuild.buildkit.failure import Failure
from flytebuild.buildkit.progress import Progress
from flytebuild.buildkit.session.providers import Secrets
from flytebuild.buildkit.session.session import Session
from flytebuild.buildkit.solve import MANIFEST_DIGEST, Solve, SolveError
from flytebuild.events import WHEEL_LAYERS, ignore
from flytebuild.llb.file import FIXED_TIME
from flytebuild.llb.marshal import marshal
from flytebuild.llb.wheels import wheel_layer
from flytebuild.spec.images import ResolvedImage
from flytebuild.spec.layers import Pin, WheelLayer
from flytebuild.spec.prefix import VENV
from flytebuild.wheels.partition import HEAVY
from flytebuild.wheels.recipe import tool_of
from scripts.machine.debian import architecture
from scripts.machine.processes import wait_until
from scripts.machine.push import Repository
from tests import plain
from tests.conftest import Machine
from tests.engine import packages
from tests.engine.building import digest, manifest, unpacked
from tests.engine.clients import SMALL, Bench, Registry, told
from tests.engine.solving import Solver
from tests.registry_proxy import proxied

pytestmark = pytest.mark.engine

LOOKED_AT = ("download ", "pins of ", "the program that ", "uv and Python ", "layers on top of ")
"""How steps begin that are executed and cost nothing.

Wheels are named by their digests: that they are looked at fetches none, and the index cannot be reached there. What is
merged is put together anew, which moves nothing.
"""

PYTHON = "docker.io/library/python:3.11-slim-bookworm"


@dataclass(frozen=True)
class Served:
    """Wheels on the loopback, which the engine reaches as well."""

    folder: Path
    url: str
    tool: ResolvedImage

    def layer(self, solver: Solver, *wheels: Path, **changes: Any) -> WheelLayer:
        return WheelLayer(
            tuple(self._pin(path, **changes) for path in wheels), self.tool, "3.11", solver.platform, VENV
        )

    def _pin(self, path: Path, **changes: Any) -> Pin:
        name, version, *_ = path.name.split("-")
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        url = f"{self.url}/{path.relative_to(self.folder)}"
        return replace(Pin(name, version, path.name, found, url, path.stat().st_size), **changes)


@pytest.fixture
def served(tmp_path: Path, machine: Machine) -> Iterator[Served]:
    reference = tool_of("3.11")
    location = f"{machine.mirrors['ghcr.io']}/{reference.partition('/')[2]}"
    with packages.serving(tmp_path) as url:
        yield Served(tmp_path, url, ResolvedImage(reference, location, digest(location)))


def made(solver: Solver, layer: WheelLayer, repository: str) -> tuple[str, bytes]:
    """The digest of a layer that is made anew, and its content."""
    export = Export(
        "image",
        {"name": repository, "push": "true", "push-by-digest": "true", "store": "false", "compression": "zstd"}
        | {"oci-mediatypes": "true"},
    )
    with Session(solver.connection, (Secrets({}),)) as session:
        work = executed_anew(marshal(wheel_layer(layer)))
        answer = Solve(solver.connection, session.id).run(work, export, Progress("test", ignore))
    (found,) = manifest(f"{repository}@{answer[MANIFEST_DIGEST]}")["layers"]
    host, _, name = repository.partition("/")
    content = plain.get(f"http://{host}/v2/{name}/blobs/{found['digest']}", timeout=60).raise_for_status().content
    return found["digest"], unpacked(content)


def test_a_layer_is_the_same_bytes_whenever_it_is_made(solver: Solver, served: Served, registry_prefix: str) -> None:
    alpha = packages.wheel(served.folder, "alpha", "1.0", "beta", more={"common.py": "owner = 'alpha'\n"})
    beta = packages.wheel(served.folder, "beta", "2.0", more={"common.py": "owner = 'beta'\n"})
    first, content = made(solver, served.layer(solver, alpha, beta), f"{registry_prefix}/one")
    again, _ = made(solver, served.layer(solver, alpha, beta), f"{registry_prefix}/two")
    other, _ = made(solver, served.layer(solver, beta, alpha), f"{registry_prefix}/other")
    assert first == again != other
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        members = tar.getmembers()
        names = {member.name for member in members}
        record = tar.extractfile("opt/venv/lib/python3.11/site-packages/alpha-1.0.dist-info/RECORD")
        assert record
        assert b"uv_cache" not in record.read()
        common = tar.extractfile("opt/venv/lib/python3.11/site-packages/common.py")
        assert common
        assert common.read() == b"owner = 'beta'\n", "the last one's file stays"
    assert {member.mtime for member in members} == {FIXED_TIME}
    assert {(member.uid, member.gid) for member in members} == {(0, 0)}
    assert {name for name in names if not name.startswith("opt/venv/lib/python3.11/site-packages/")} == {
        "opt",
        "opt/venv",
        "opt/venv/lib",
        "opt/venv/lib/python3.11",
        "opt/venv/lib/python3.11/site-packages",
    }
    assert "opt/venv/lib/python3.11/site-packages/__pycache__/alpha.cpython-311.pyc" in names


def test_a_wheel_of_another_content_is_refused(solver: Solver, served: Served) -> None:
    alpha = packages.wheel(served.folder, "alpha", "1.0")
    layer = served.layer(solver, alpha, sha256=hashlib.sha256(secrets.token_bytes()).hexdigest())
    with pytest.raises(SolveError, match="digest mismatch") as caught:
        solver.solve(wheel_layer(layer))
    assert isinstance(caught.value.reason, Failure)


MAIN = """
import flyte

def image(name, *packages):
    base = flyte.Image.from_base("{python}").clone(name=name, extendable=True, python_version=(3, 11))
    return base.with_env_vars({{"NAME": name}}).with_pip_packages(*packages, index_url="{index}")

one = flyte.TaskEnvironment("one", image=image("one", "heavy", "light"))
two = flyte.TaskEnvironment("two", image=image("two", "light", "heavy").with_env_vars({{"MORE": "1"}}))
old = flyte.TaskEnvironment("old", image=image("old", "light").with_pip_packages("light<2", index_url="{index}"))
late = flyte.TaskEnvironment("late", image=image("late", "late"))
"""
LATE = "late-1-py3-none-any.whl"


@pytest.fixture
def gate() -> Iterator[Event]:
    """Open but for as long as a test has it closed: the way of the package `late`."""
    opened = Event()
    opened.set()
    yield opened
    opened.set()


@pytest.fixture
def bench(tmp_path: Path, machine: Machine, second_machine: Machine, gate: Event) -> Iterator[Bench]:
    assert machine.registry
    folder = tmp_path / "index"
    token = str(secrets.randbelow(10**9))
    # Of a version of its own, so that no engine has it.
    packages.padded(folder / "simple/heavy", "heavy", f"1.{token}", HEAVY)
    for name, version in (("light", "1"), ("light", f"2.{token}"), ("late", "1")):
        packages.wheel(folder / "simple" / name, name, version)
    for place in (folder / "simple").iterdir():
        packages.listed(place)
    served = packages.serving(folder, gates={LATE: gate})
    with served as url, proxied(machine.registry.partition("/")[0]) as proxy:
        files = {"main.py": MAIN.format(python=PYTHON, index=f"{url}/simple")}
        made = Bench(tmp_path, machine, second_machine, Registry(proxy, f"t{token}"), files)
        yield made
        made.close()
        made.wipe_second()


def test_layers_are_made_once_and_mounted_into_every_repository(bench: Bench) -> None:
    registry, proxy = bench.registry, bench.registry.proxy
    first = bench.client("first")
    first.workspace.flytebuild("lock", "main.py")
    plan = first.workspace.plan("main.py", "--for", "one", "--for", "two", "--for", "old")
    version = registry.path.removeprefix("t")
    # An index of files says nothing of sizes, so whoever serves them was asked: the heavy one is a layer of its own.
    light, heavy = plan["wheel_layers"]
    assert (light["summary"], len(light["images"])) == (f"wheel: light 2.{version}", 3)
    assert (heavy["summary"], len(heavy["images"])) == (f"wheel: heavy 1.{version}", 2)
    (old,) = [item for item in plan["images"] if item["environments"] == ["old"]]
    # A package that takes another's place cannot be merged.
    assert [layer["obstacle"] for layer in old["layers"] if layer["kind"] == "pinned"] == [
        None,
        "it replaces `light` of what is below",
    ]
    assert first.workspace.plan("main.py", "--no-wheel-layers")["wheel_layers"] == []

    built = first.build("main.py", "--for", "one", "--for", "two")
    assert built.results == {"one": "built", "two": "built"}
    executed = [event["name"] for event in built.events if event["event"] == "step_finished" and not event["cached"]]
    assert [executed.count(f"{layer['summary']} (Python 3.11)") for layer in (light, heavy)] == [1, 1]

    places = {item["name"]: item["image"] for item in plan["environments"]}
    layers = {name: registry.layers(places[name]) for name in ("one", "two")}
    # The layers came into the registry once, and from there into both repositories.
    wheels = layers["one"][-2:]
    assert layers["two"][-2:] == wheels
    for blob in wheels:
        (upload,) = [call.path for call in proxy.uploads(registry.path) if blob.removeprefix("sha256:") in call.path]
        assert f"/{REPOSITORY}/" in upload

    for name in layers:
        registry.forget(places[name])
    # What was made is there, whatever is to be made on top of it.
    anew = first.workspace.plan("main.py", "--refresh", "--for", "one")
    (layer,) = [item for image in anew["images"] for item in image["layers"] if item["wheel_layers"]]
    assert {item["digest"]: item["seconds"] for item in anew["forecast"]["layers"]}[layer["digest"]] == 0.0
    # And is given to no registry a second time; all that was, was measured.
    assert (anew["forecast"]["push"], anew["forecast"]["unmeasured"]) == (0, 0)
    drawn = json.loads(first.workspace.flytebuild("graph", "--json", "main.py", "--for", "one").stdout)
    own = [item["seconds"] for item in drawn["wheel_layers"]]
    assert {item["digest"]: item["seconds"] for item in drawn["layers"]}[layer["digest"]] == max(own) > 0
    proxy.calls.clear()
    second = bench.client("second", second=True)
    (second.workspace.folder / "flytebuild.lock").write_bytes((first.workspace.folder / "flytebuild.lock").read_bytes())
    again = second.build("main.py", "--for", "one", "--for", "two")
    assert {name for name in again.executed if not name.startswith(LOOKED_AT)} == set()
    ended = [event for event in again.events if event["event"] == "step_finished"]
    assert [event["name"] for event in ended if event["runs"] and not event["cached"]] == []
    assert {name: registry.layers(places[name]) for name in layers} == layers
    sizes = second.workspace.flytebuild("size", "main.py", "--for", "one").stdout
    assert f"wheel: heavy 1.{version}" in sizes
    assert max((call.received for call in proxy.downloads()), default=0) < SMALL


def test_layers_are_imported_beside_a_build_that_makes_others_on_the_same_engine(bench: Bench, gate: Event) -> None:
    registry, version = bench.registry, bench.registry.path.removeprefix("t")
    first, second = bench.client("first"), bench.client("second", second=True)
    for client in (first, second):
        client.workspace.environ["FLYTEBUILD_MIRRORS"] += f",ghcr.io={bench.machine.mirrors['ghcr.io']}"
    first.workspace.flytebuild("lock", "main.py")
    first.build("main.py", "--for", "one")
    (item,) = first.workspace.plan("main.py", "--for", "one")["environments"]
    wheels = registry.layers(item["image"])[-2:]
    registry.forget(item["image"])
    (second.workspace.folder / "flytebuild.lock").write_bytes((first.workspace.folder / "flytebuild.lock").read_bytes())

    # The engine has nothing: it makes what layers are made on, and waits for a wheel.
    gate.clear()
    late = second.start("main.py", "--for", "late")
    empty = '"name": "an empty virtual environment for Python 3.11", "cached"'
    assert wait_until(lambda: empty in late.told(), packages.PATIENCE)
    built = second.build("main.py", "--for", "one")
    assert built.results == {"one": "built"}
    installed = {f"wheel: heavy 1.{version} (Python 3.11)", f"wheel: light 2.{version} (Python 3.11)"}
    assert installed & built.executed == set()
    assert registry.layers(item["image"])[-2:] == wheels
    gate.set()
    assert told(late).results == {"late": "built"}


READY = """
import flyte

image = flyte.Image.from_base("{base}").clone(name="ready", extendable=True, python_version=(3, 11))
ready = flyte.TaskEnvironment("ready", image=image.with_pip_packages("heavy", "light", index_url="{index}"))
"""


def pushed_base(registry: Registry, content: bytes) -> str:
    """A base with what looks like a virtual environment, and a file of that content; nothing of it can run."""
    files = {
        **dict.fromkeys(("usr", "usr/bin", "opt", "opt/venv", "opt/venv/bin")),
        "opt/venv/bin/python": b"#!/bin/false\n",
        "opt/venv/pyvenv.cfg": b"version_info = 3.11.2\n",
        "content": content,
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, text in files.items():
            member = tarfile.TarInfo(path)
            member.mode, member.size = 0o755, len(text or b"")
            member.type = tarfile.DIRTYPE if text is None else tarfile.REGTYPE
            tar.addfile(member, io.BytesIO(text or b""))
    repository = Repository(int(registry.proxy.upstream.rpartition(":")[2]), f"{registry.path}/base")
    layer = repository.push_layer([packed.getvalue()])
    config = {"os": "linux", "architecture": architecture(), "config": {"Env": ["PATH=/opt/venv/bin:/usr/bin"]}}
    repository.push("1", [repository.push_image([layer], config)])
    return f"{registry.prefix}/base:1"


def test_a_base_that_has_an_environment_is_not_fetched_nor_is_anything_made_when_it_moves(bench: Bench) -> None:
    registry, proxy = bench.registry, bench.registry.proxy
    base = pushed_base(registry, secrets.token_bytes(2 * SMALL))
    code = {"ready.py": READY.format(base=base, index=re.search(r'index_url="(.*)"', bench.files["main.py"])[1])}
    first, second = bench.client("first"), bench.client("second", second=True)
    for client in (first, second):
        client.workspace.write(code)
    first.workspace.flytebuild("lock", "ready.py")
    (before,) = first.workspace.plan("ready.py")["images"]
    assert [layer["kind"] for layer in before["layers"]] == ["base", "uv", "pinned"]
    proxy.calls.clear()
    first.build("ready.py")
    # All layers came into the registry once, and are mounted where the image is.
    (place,) = [item["reference"] for item in first.workspace.plan("ready.py")["images"]]
    for blob in registry.layers(place)[1:]:
        (upload,) = [call.path for call in proxy.uploads(registry.path) if blob.removeprefix("sha256:") in call.path]
        assert f"/{REPOSITORY}/" in upload
    # Its configuration is looked at, and no layer of it.
    assert max((call.received for call in proxy.downloads(f"{registry.path}/base/")), default=0) < SMALL

    pushed_base(registry, secrets.token_bytes(2 * SMALL))
    (second.workspace.folder / "flytebuild.lock").write_bytes((first.workspace.folder / "flytebuild.lock").read_bytes())
    second.workspace.flytebuild("lock", "--update", base, "ready.py")
    (after,) = second.workspace.plan("ready.py")["images"]
    proxy.calls.clear()
    built = second.build("ready.py")
    assert {name for name in built.executed if not name.startswith(LOOKED_AT)} == set()
    assert max((call.received for call in proxy.downloads()), default=0) < SMALL
    old, new = (registry.layers(image["reference"]) for image in (before, after))
    assert (old[1:], len(new)) == (new[1:], 4)
    assert old[0] != new[0]


def test_a_wheel_layer_that_the_registry_has_lost_is_made_again(bench: Bench) -> None:
    registry, version = bench.registry, bench.registry.path.removeprefix("t")
    first, second = bench.client("first"), bench.client("second", second=True)
    for client in (first, second):
        # What makes wheel layers is large, and of no interest on its way.
        client.workspace.environ["FLYTEBUILD_MIRRORS"] += f",ghcr.io={bench.machine.mirrors['ghcr.io']}"
    first.workspace.flytebuild("lock", "main.py")
    first.build("main.py", "--for", "one", "--for", "two")
    planned = first.workspace.plan("main.py", "--for", "one", "--for", "two")
    places = {item["name"]: item["image"] for item in planned["environments"]}
    layers = {name: registry.layers(place) for name, place in places.items()}
    sizes = {item["digest"]: item["size"] for item in registry.manifest(places["one"]).json()["layers"]}
    lost = max(layers["one"][-2:], key=lambda digest: sizes[digest])
    for place in places.values():
        registry.forget(place)
    for repository in (REPOSITORY, *places):
        registry.lose(repository, lost)

    (second.workspace.folder / "flytebuild.lock").write_bytes((first.workspace.folder / "flytebuild.lock").read_bytes())
    wheel = bench.folder / f"index/simple/heavy/heavy-1.{version}-py3-none-any.whl"
    aside = wheel.rename(bench.folder / wheel.name)
    # Where its wheel is gone as well there is no image, and it is told which wheel, and whose.
    failed = second.workspace.flytebuild("build", "main.py", "--for", "one", "--for", "two", code=1)
    assert f"step failed: download {wheel.name}  (image of `one`, `two`)" in failed.stderr
    assert "once more" not in failed.stderr
    assert [registry.manifest(place).status_code for place in places.values()] == [404, 404]

    aside.rename(wheel)
    again = second.build("main.py", "--for", "one", "--for", "two")
    assert f"`{registry.prefix}/{REPOSITORY}` has lost the layer of wheel: heavy 1.{version}, which is made again" in (
        again.notices
    )
    first_of_all = {event["name"] for event in again.events if event.get("image") == WHEEL_LAYERS}
    assert {name for name in first_of_all if name.startswith("wheel: ")} == {f"wheel: heavy 1.{version} (Python 3.11)"}
    assert {name: registry.layers(place) for name, place in places.items()} == layers
    cached = [f"{registry.prefix}/{REPOSITORY}:{tag}" for tag in registry.tags(REPOSITORY)]
    assert [place for place in (*places.values(), *cached) if not registry.is_whole(place)] == []
