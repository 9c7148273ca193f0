"""The remote cache, re-tagging, and clients that build the same: two engines, one registry, every request counted."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import Machine
from tests.engine.clients import SMALL, Bench, Client, Registry, told
from tests.engine.conftest import in_image
from tests.registry_proxy import proxied

pytestmark = pytest.mark.engine

CACHE = "flytebuild-cache"
MERGED = {"copied files", "copied files on top of the image"}
"""What is put together anew of what is there: that moves nothing, and is not kept."""

MAIN = """
from pathlib import Path
import flyte

TOKEN = "{token}"
HERE = Path(__file__).parent

def small(name, **variables):
    return flyte.Image.from_dockerfile(HERE / "docker" / "Dockerfile", REGISTRY, name)

tools = flyte.Image.from_debian_base(python_version=(3, 11), name="tools").with_commands(
    ["cat /proc/sys/kernel/random/uuid >/tools # " + TOKEN])
one = flyte.TaskEnvironment("one", image=tools.with_commands(["cat /tools >/one"]))
two = flyte.TaskEnvironment("two", image=tools.with_commands(["cat /tools >/two"])
    .with_source_file(HERE / "notes", "/"))
file = flyte.TaskEnvironment("file", image=small("file"))
"""
DOCKERFILE = """
FROM ghcr.io/acme/service:1
USER root
RUN cat /proc/sys/kernel/random/uuid >/first # {token}
COPY notes /notes
RUN cat /first >/second
"""
NAMES = """
import flyte

def image(name):
    return flyte.Image.from_debian_base(python_version=(3, 11), name=name).with_env_vars({{"TOKEN": "{token}"}})

one = flyte.TaskEnvironment("one", image=image("first"))
two = flyte.TaskEnvironment("two", image=image("second"))
"""
BASED = """
import flyte

base = flyte.Image.from_base("{base}").clone(name="based", extendable=True)
env = flyte.TaskEnvironment("env", image=base.with_commands(["cat /etc/hostname"]))
"""


@pytest.fixture
def bench(tmp_path: Path, machine: Machine, second_machine: Machine) -> Iterator[Bench]:
    assert machine.registry
    token = secrets.token_hex(6)
    with proxied(machine.registry.partition("/")[0]) as proxy:
        registry = Registry(proxy, f"t{token}")
        main = MAIN.format(token=token).replace("REGISTRY", repr(registry.prefix))
        files = {
            "main.py": main,
            "names.py": NAMES.format(token=token),
            "notes": "notes",
            "docker/Dockerfile": DOCKERFILE.format(token=token),
            "docker/notes": "notes",
        }
        made = Bench(tmp_path, machine, second_machine, registry, files)
        yield made
        made.close()
        made.wipe_second()


def references(client: Client, *arguments: str) -> dict[str, str]:
    """Where each environment's image is, or would be."""
    return {item["name"]: item["image"] for item in client.workspace.plan(*arguments)["environments"]}


def test_a_second_machine_executes_nothing_and_downloads_no_layer(bench: Bench) -> None:
    registry, proxy = bench.registry, bench.registry.proxy
    first = bench.client("first")
    # By two commands, whose caches have some in common: neither takes the other's away.
    built = first.build("main.py", "--for", "one", "--for", "file")
    assert {"run: cat /tools >/one", "[3/4] RUN cat /first >/second"} <= built.executed
    assert "run: cat /tools >/two" in first.build("main.py", "--for", "two").executed
    places = references(first, "main.py")
    layers = {name: registry.layers(place) for name, place in places.items()}
    # The bases are there already, and what is in an image is not sent once more to the cache.
    pushed = sum(call.sent for call in proxy.uploads(registry.path) if call.sent > SMALL)
    assert pushed < 5_000_000, [call for call in proxy.uploads(registry.path) if call.sent > SMALL]
    # What the engine has made, it does not fetch in order to run it.
    proxy.calls.clear()
    assert in_image(places["one"], "cat", "/one") == in_image(places["one"], "cat", "/tools")
    assert [call for call in proxy.downloads() if call.received > SMALL] == []

    for place in places.values():
        registry.forget(place)
    proxy.calls.clear()
    second = bench.client("second", second=True)
    again = second.build("main.py")
    assert again.results == {"one": "built", "two": "built", "file": "built"}
    assert again.executed <= MERGED
    downloaded = {call.path.rpartition("/")[2] for call in proxy.downloads()}
    assert downloaded & {digest for found in layers.values() for digest in found} == set()
    assert max(call.received for call in proxy.downloads()) < SMALL
    assert {name: registry.layers(place) for name, place in places.items()} == layers
    # It added nothing, so it exported nothing.
    assert not any(event["name"].startswith("exporting cache") for event in again.events if "name" in event)

    # One command more: what is below it is still not executed.
    changed = bench.files["main.py"].replace("cat /tools >/one", "cat /tools >/one && true")
    second.workspace.write({"main.py": changed, "docker/notes": "other notes"})
    assert second.build("main.py").executed == {
        "run: cat /tools >/one && true",
        "[2/4] COPY notes /notes",
        "[3/4] RUN cat /first >/second",
    }


def test_a_layer_that_is_lost_is_made_again(bench: Bench) -> None:
    registry = bench.registry
    first = bench.client("first")
    first.build("main.py", "--for", "file")
    place = references(first, "main.py")["file"]
    lost = registry.layers(place)[1]
    registry.forget(place)
    for repository in (CACHE, "file"):
        registry.lose(repository, lost)

    second = bench.client("second", second=True)
    again = second.build("main.py", "--for", "file")
    assert any("is built once more, without the cache" in notice for notice in again.notices)
    ended = [event for event in again.events if event["event"] == "step_finished" and "RUN cat /proc" in event["name"]]
    assert [event["cached"] for event in ended] == [True, False]
    assert registry.is_whole(place)
    assert lost not in registry.layers(place)
    # The cache is whole again too.
    tags = registry.tags(CACHE)
    assert all(registry.is_whole(f"{registry.prefix}/{CACHE}:{tag}") for tag in tags if tag.startswith("d-"))


def test_what_is_lost_between_the_push_and_the_tag_is_pushed_again(bench: Bench) -> None:
    registry, proxy = bench.registry, bench.registry.proxy
    losses = 1

    def lose(method: str, path: str, headers: httpx.Headers) -> None:
        """Lose a layer right when we look whether all that was pushed is there."""
        nonlocal losses
        ours = headers.get("user-agent", "").startswith("python-httpx")
        if losses and ours and method == "HEAD" and "/file/blobs/" in path:
            losses -= 1
            assert registry.ask("DELETE", path.removeprefix("/v2/")).status_code == 202

    proxy.answer = lose
    first = bench.client("first")
    built = first.build("main.py", "--for", "file")
    assert losses == 0
    assert any("once more, without the cache" in notice and "lacks `sha256:" in notice for notice in built.notices)
    assert registry.is_whole(references(first, "main.py")["file"])


def test_two_clients_on_two_engines_leave_one_content(bench: Bench) -> None:
    clients = [bench.client("a"), bench.client("b"), bench.client("c", second=True)]
    processes = [client.start("main.py", "--for", "file") for client in clients]
    ended = [told(process) for process in processes]
    place = references(clients[0], "main.py")["file"]
    there = bench.registry.manifest(place).headers["docker-content-digest"]
    # Whoever came second says what is there, not what it had made itself.
    assert there in {item.manifests["file"] for item in ended}
    assert bench.registry.is_whole(place)
    # Nor has one client taken from another what it wrote to the cache.
    assert (tags := bench.registry.tags(CACHE))
    assert [tag for tag in tags if not bench.registry.is_whole(f"{bench.registry.prefix}/{CACHE}:{tag}")] == []
    for client in clients:
        assert client.build("main.py", "--for", "file").results == {"file": "present"}


def test_one_content_under_two_names_is_built_once(bench: Bench) -> None:
    registry, proxy = bench.registry, bench.registry.proxy
    first = bench.client("first")
    planned = first.workspace.plan("names.py")
    places = references(first, "names.py")
    assert (planned["to_build"], planned["to_copy"]) == ([places["one"]], [places["two"]])
    text = first.workspace.flytebuild("plan", "names.py").stdout
    assert f"two  to re-tag from {places['one']}: new environment, not in `{registry.prefix}/second`" in text
    assert "2 images, 1 to build, 1 to re-tag" in text

    built = first.build("names.py")
    assert built.results == {"one": "built", "two": "re-tagged"}
    assert registry.manifest(places["one"]).content == registry.manifest(places["two"]).content

    # Elsewhere in the registry: by what was seen before, without an engine, and without a byte.
    proxy.calls.clear()
    moved = Client(first.workspace)
    moved.workspace.environ["FLYTEBUILD_REGISTRY"] = f"{registry.prefix}/elsewhere"
    nowhere = f"unix://{bench.folder}/nothing.sock"
    again = moved.build("names.py", DOCKER_HOST=nowhere)
    assert again.results == {"one": "re-tagged", "two": "re-tagged"}
    assert proxy.uploads() == []
    assert max((call.received for call in proxy.downloads()), default=0) < SMALL
    assert registry.is_whole(references(moved, "names.py")["two"])

    # In a registry that is another one, as far as anybody can tell.
    moved.workspace.environ["FLYTEBUILD_REGISTRY"] = f"{proxy.upstream}/{registry.path}/streamed"
    streamed = moved.build("names.py", "--for", "one", DOCKER_HOST=nowhere)
    assert streamed.results == {"one": "re-tagged"}
    (image,) = streamed.document["images"]
    assert image["manifest"] == registry.manifest(places["one"]).headers["docker-content-digest"]
    assert registry.is_whole(image["reference"].replace(proxy.upstream, proxy.host))


def test_what_cannot_be_re_tagged_is_built(bench: Bench) -> None:
    registry = bench.registry
    first = bench.client("first")
    first.build("names.py", "--for", "one")
    place = references(first, "names.py")["one"]
    lost = registry.layers(place)[-1]
    registry.lose("first", lost)
    again = first.build("names.py", "--for", "two")
    assert again.results == {"two": "built"}
    assert any("is built, since it cannot be re-tagged" in notice for notice in again.notices)
    assert registry.is_whole(references(first, "names.py")["two"])

    # Nor can another machine build on it, which has nothing of it.
    second = bench.client("second", second=True)
    second.workspace.write({"names.py": BASED.format(base=place)})
    failed = second.workspace.flytebuild("build", "names.py", code=1)
    assert f"could not fetch content descriptor {lost}" in failed.stderr
    assert "hint: a registry lacks a layer" in failed.stderr


def test_a_registry_that_takes_no_cache(bench: Bench) -> None:
    registry, proxy = bench.registry, bench.registry.proxy
    proxy.answer = lambda method, path, _: 400 if method == "PUT" and f"/{CACHE}/manifests/" in path else None
    first = bench.client("first")
    built = first.build("main.py", "--for", "file", "--for", "one")
    assert any(f"/{CACHE}` takes no cache, so images keep what they can of it" in notice for notice in built.notices)
    # The image's own last operation is what another machine finds, for an image that differs in its settings only.
    second = bench.client("second", second=True)
    changed = bench.files["main.py"].replace('>/one"])', '>/one"]).with_env_vars({"A": "1"})')
    second.workspace.write({"main.py": changed})
    assert second.build("main.py", "--for", "one").executed == set()
    assert not registry.tags(CACHE)


def test_a_cache_in_a_folder_serves_another_machine(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    first = bench.client("first")
    built = first.build("main.py", FLYTEBUILD_CACHE=f"local:{folder}")
    assert (built.notices, built.results["file"]) == ([], "built")
    assert not bench.registry.tags(CACHE)
    for place in references(first, "main.py").values():
        bench.registry.forget(place)
    second = bench.client("second", second=True)
    again = second.build("main.py", FLYTEBUILD_CACHE=f"local:{folder}")
    assert again.executed <= MERGED
    # What is gone is made again.
    shutil.rmtree(folder / "blobs")
    bench.wipe_second()
    changed = bench.files["main.py"].replace("cat /tools >/one", "cat /tools >/one && true")
    second.workspace.write({"main.py": changed})
    assert "run: cat /tools >/one && true" in second.build("main.py", FLYTEBUILD_CACHE=f"local:{folder}").executed
    assert json.loads((folder / "index.json").read_text())["manifests"]


def test_a_cache_that_cannot_be_written_fails_nothing(bench: Bench) -> None:
    proxy = bench.registry.proxy
    proxy.answer = lambda method, path, _: 500 if method == "PUT" and f"/{CACHE}/manifests/all-" in path else None
    client = bench.client("first")
    built = client.build("main.py", "--for", "file")
    assert any(f"the cache in `{bench.registry.prefix}/{CACHE}` was not written" in item for item in built.notices)
    assert built.results == {"file": "built"}
    off = bench.client("off", registry="off")
    off.workspace.write({"docker/notes": "others"})
    packed = off.build("main.py", "--for", "file", FLYTEBUILD_CACHE="off", FLYTEBUILD_COMPRESSION="gzip")
    assert packed.notices == []
    assert bench.registry.tags("off/" + CACHE) == set()
    kinds = bench.registry.manifest(packed.document["images"][0]["reference"]).json()["layers"]
    assert {layer["mediaType"].rpartition("+")[2] for layer in kinds} == {"gzip"}
