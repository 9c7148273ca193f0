"""Where a build's results are looked up, by a stand-in for the registry."""

from __future__ import annotations

import asyncio
from datetime import datetime, timezone

import httpx
import pytest
from msgspec.structs import replace

from flytebuild.build.cache import BuildCache, NoCache, open_cache, unreached
from flytebuild.build.cache.configs import CONFIG_TYPE
from flytebuild.build.cache.inline import InlineCache
from flytebuild.build.cache.keys import (
    CacheKey,
    key_of_last,
    key_together,
    keys_of,
    keys_of_state,
    parts_of,
    tag_of_all,
)
from flytebuild.build.cache.lookup import IMPORTS, Found, imports, look_up
from flytebuild.build.cache.probe import why_no_cache
from flytebuild.build.cache.remote import RemoteCache
from flytebuild.config import Config
from flytebuild.events import Event, Notice
from flytebuild.llb.file import make_folder
from flytebuild.llb.merge import diff, merge
from flytebuild.llb.source import image
from flytebuild.plan import ImagePlan
from flytebuild.registry.client import RegistryClient
from flytebuild.registry.content import Manifest
from flytebuild.registry.reference import parse
from flytebuild.spec.images import ResolvedImage, RuntimeConfig
from flytebuild.spec.layers import Command, Dockerfile
from flytebuild.spec.model import ImageSpec, Step
from flytebuild.spec.tree import Entry, assemble
from tests.samples import AMD64

CACHE = parse("registry.example/cache:x")
BASE = CacheKey("v-base")
DEPENDENCIES = CacheKey("v-deps", (BASE,))
ONE, TWO = CacheKey("v-one", (DEPENDENCIES,)), CacheKey("v-two", (DEPENDENCIES,))


def found(holders: dict[str, str], *keys: CacheKey) -> tuple[Found, list[str]]:
    """What is found where each tag leads to a manifest, and the tags that were asked for."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        tag = request.url.path.rpartition("/")[2]
        asked.append(tag)
        digest = holders.get(tag)
        if digest == "broken":
            return httpx.Response(503)
        return httpx.Response(200, headers={"docker-content-digest": digest}) if digest else httpx.Response(404)

    async def act() -> Found:
        async with RegistryClient(httpx.MockTransport(answer)) as client:
            return await look_up(client, dict.fromkeys(keys, CACHE))

    return asyncio.run(act()), asked


def test_nothing_more_is_asked_for_than_what_is_missing() -> None:
    what, asked = found({"v-one": "sha256:1", "v-deps": "sha256:0", "v-base": "sha256:0"}, ONE)
    assert asked == ["v-one"]
    assert [str(item) for item in what.manifests] == ["registry.example/cache@sha256:1"]
    assert what.tags == {"v-one", "v-deps", "v-base"}
    assert [(item.type, item.attrs["ref"]) for item in imports(what.manifests)] == [
        ("registry", "registry.example/cache@sha256:1")
    ]


def test_what_is_shared_is_asked_for_once_and_from_the_images_down() -> None:
    what, asked = found({"v-deps": "sha256:1"}, ONE, TWO)
    assert asked == ["v-one", "v-two", "v-deps"]
    assert what.tags == {"v-deps", "v-base"}


def test_manifests_that_hold_most_come_first_and_few_are_imported() -> None:
    keys = [CacheKey(f"v-{number}") for number in range(20)]
    holders = {key.tag: f"sha256:{min(number, 15)}" for number, key in enumerate(keys)}
    what, _ = found(holders, *keys)
    assert len(what.manifests) == IMPORTS
    assert what.manifests[0].digest == "sha256:15"
    assert what == found(holders, *reversed(keys))[0]


def test_a_registry_that_does_not_say_has_no_cache() -> None:
    what, _ = found({"v-one": "sha256:1", "v-two": "broken"}, ONE, TWO)
    assert what == Found(problem="`registry.example` answers with status 503")


def test_keys_are_those_of_operations_and_the_same_everywhere() -> None:
    base = ResolvedImage("x", "registry.example/x:1", "sha256:" + "0" * 64, RuntimeConfig())
    step = Step(Command("true"), RuntimeConfig())
    plain = ImageSpec("a", None, AMD64, base, (), RuntimeConfig())
    assert keys_of(plain, has_bundle=False) == ()
    assert key_of_last(plain, has_bundle=False) is None
    one, other = (
        keys_of(ImageSpec(name, None, AMD64, base, (step, step), RuntimeConfig()), has_bundle=False) for name in "ab"
    )
    assert [key.tag for key in one] == [key.tag for key in other]
    assert len(one[0].closure()) == 2
    # Steps that trust another bundle are other steps.
    spec = ImageSpec("a", None, AMD64, base, (step,), RuntimeConfig())
    (with_bundle,) = keys_of(spec, has_bundle=True)
    assert with_bundle.tag not in one[0].closure()
    last = key_of_last(spec, has_bundle=True)
    assert last
    assert (last.tag, last.below) == (with_bundle.tag, ())


def test_what_is_merged_is_found_by_its_parts() -> None:
    base = image("registry.example/x@sha256:" + "0" * 64, AMD64, name="base")
    lower = make_folder(base, "/a", AMD64, name="a")
    upper, beside = make_folder(lower, "/b", AMD64, name="b"), make_folder(base, "/c", AMD64, name="c")
    whole = merge((beside, diff(lower, upper, name="b alone"), merge((beside, base), name="more")), name="all")
    assert parts_of(whole) == (beside, upper)
    above = keys_of_state(make_folder(whole, "/d", AMD64, name="d"))
    assert [key.tag for key in above[0].below] == [key.tag for key in keys_of_state(whole)]
    assert [len(key.below) for key in keys_of_state(whole)] == [0, 1]
    assert key_together(keys_of_state(upper)).tag == keys_of_state(upper)[0].tag
    together = key_together(keys_of_state(whole))
    assert together.tag == tag_of_all(together.below)


def test_a_dockerfile_is_found_by_itself_when_its_context_has_changed() -> None:
    def key(notes: str) -> CacheKey:
        file = assemble([Entry("Dockerfile", "file", "1" * 64, 9)])
        layer = Dockerfile(file, assemble([*file.entries, Entry("notes", "file", notes * 64, 9)]))
        spec = ImageSpec("a", None, AMD64, None, (Step(layer, RuntimeConfig()),), RuntimeConfig())
        (made,) = keys_of(spec, has_bundle=False)
        return made

    before, after = key("2"), key("3")
    assert before.tag != after.tag
    assert [item.tag for item in before.below] == [item.tag for item in after.below]


def test_what_images_share_a_manifest_under_is_a_tag_of_theirs() -> None:
    assert tag_of_all([ONE, TWO]) == tag_of_all([TWO, ONE, ONE])
    assert tag_of_all([ONE]) != tag_of_all([TWO])


def opened(looks: int, pushes: int, settings: Config) -> tuple[type[BuildCache], list[str]]:
    """Which cache a build has where the registry answers questions and pushes so, and what the user is told."""

    def answer(request: httpx.Request) -> httpx.Response:
        if "/manifests/v-" in request.url.path:
            return httpx.Response(looks)
        if request.method == "POST":
            return httpx.Response(202, headers={"location": "/v2/cache/blobs/uploads/1"})
        return httpx.Response(pushes if "/manifests/" in request.url.path else 404 if request.method == "HEAD" else 201)

    base = ResolvedImage("x", "registry.example/x:1", "sha256:" + "0" * 64, RuntimeConfig())
    spec = ImageSpec("a", None, AMD64, base, (Step(Command("true"), RuntimeConfig()),), RuntimeConfig())
    planned = ImagePlan("registry.example/team/a:b3-1", "missing", "not there", ("env",), "1" * 64, (), spec)
    events: list[Event] = []

    async def act() -> type[BuildCache]:
        async with RegistryClient(httpx.MockTransport(answer)) as client:
            return type(await open_cache(settings, client, [planned], events.append, has_bundle=False))

    return asyncio.run(act()), [event.message for event in events if isinstance(event, Notice)]


def test_which_cache_there_is() -> None:
    settings = Config(registry="registry.example/team")
    assert opened(404, 201, settings) == (RemoteCache, [])
    # A registry that is asked for a repository that is not there yet.
    kind, notices = opened(403, 201, settings)
    assert kind is RemoteCache
    assert notices == [
        "the cache in `registry.example/team/flytebuild-cache` was not looked into: "
        "`registry.example` refuses access to `team/flytebuild-cache`"
    ]
    kind, notices = opened(404, 400, settings)
    assert kind is InlineCache
    assert "`registry.example/team/flytebuild-cache` takes no cache, so images keep what they can of it" in notices[0]
    assert opened(404, 503, settings)[0] is NoCache
    assert opened(404, 400, replace(settings, cache="inline")) == (InlineCache, [])
    assert opened(404, 201, replace(settings, cache="off")) == (NoCache, [])
    assert opened(404, 201, replace(settings, registry=None)) == (NoCache, [])
    assert opened(404, 201, replace(settings, registry=None, cache="registry.example/c")) == (RemoteCache, [])


@pytest.mark.parametrize(("status", "problem"), [(201, None), (400, 400), (503, 503)])
def test_a_registry_is_asked_whether_it_takes_a_cache(status: int, problem: int | None) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(202, headers={"location": "/v2/cache/blobs/uploads/1"})
        if request.method == "PUT" and "/manifests/" in request.url.path:
            return httpx.Response(status)
        return httpx.Response(404 if request.method == "HEAD" else 201)

    async def act() -> int | None:
        async with RegistryClient(httpx.MockTransport(answer)) as client:
            refusal = await why_no_cache(client, CACHE)
            return refusal.status if refusal else None

    assert asyncio.run(act()) == problem


OLD, NEW = "2026-01-02T03:04:05.123456789Z", "2026-03-01T00:00:00Z"


def kept(*tags: str, made: str = OLD, kind: str = CONFIG_TYPE) -> list[tuple[str, ...]]:
    """The tags of what may go until February, of a cache with one manifest; `v-aaa…` is reached."""
    document = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": kind, "digest": "sha256:0", "size": 1},
        "layers": [
            {"digest": f"sha256:{number}", "size": 10, "annotations": {"buildkit/createdat": text}}
            for number, text in enumerate((OLD, made))
        ],
    }
    manifest = Manifest.of(document)

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/tags/list"):
            return httpx.Response(200, json={"tags": tags})
        headers = {"docker-content-digest": manifest.digest, "content-type": manifest.media_type}
        return httpx.Response(200, headers=headers, content=b"" if request.method == "HEAD" else manifest.content)

    async def run() -> list[tuple[str, ...]]:
        async with RegistryClient(transport=httpx.MockTransport(answer)) as client:
            until = datetime(2026, 2, 1, tzinfo=timezone.utc)
            repository = parse("registry.example/cache")
            found = await unreached.find(client, repository, {f"v-{'a' * 32}"}, until)
            assert all(item.size == 20 for item in found)
            return [tuple(name.rpartition(":")[2] for name in item.references) for item in found]

    return asyncio.run(run())


def test_what_of_a_cache_may_go_is_reached_by_nothing_ours_and_old() -> None:
    reached, other, whole = f"v-{'a' * 32}", f"v-{'b' * 32}", f"all-{'c' * 32}"
    assert kept(other, whole) == [(other, whole)]
    assert kept(other, reached) == []
    assert kept(other, "stable") == []
    assert kept(other, made=NEW) == []
    assert kept(other, made="") == [(other,)]
    assert kept(other, made="sometime, a while ago") == []
    assert kept(other, kind="application/vnd.oci.image.config.v1+json") == []
