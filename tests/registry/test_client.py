"""Questions to registries: what answers mean, with the faults that only a stand-in can be made to show.

The tests in `tests/engine` plan and build against a real registry.
"""

import asyncio
import hashlib
import json
import ssl
from collections.abc import Callable

import httpx
import pytest

from flytebuild.facts import Absent, Fact, Present, Unknown
from flytebuild.registry.client import RegistryClient
from flytebuild.registry.credentials import Credentials, Found
from flytebuild.registry.reference import parse
from flytebuild.spec.images import Platform, ResolvedImage

AMD64 = Platform("linux", "amd64")
IMAGE = parse("registry.example/team/image:1")
Handler = Callable[[httpx.Request], httpx.Response]


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def presence(handler: Handler, found: Found = Found()) -> Fact:  # noqa: B008 - never changed
    async def ask() -> Fact:
        async with RegistryClient(httpx.MockTransport(handler), lambda _host, _repository: found) as client:
            return await client.presence(IMAGE)

    return asyncio.run(ask())


def resolve(handler: Handler) -> ResolvedImage:
    async def ask() -> ResolvedImage:
        async with RegistryClient(httpx.MockTransport(handler)) as client:
            return await client.resolve("image:1", IMAGE, AMD64)

    return asyncio.run(ask())


def serving(*objects: bytes, tag: bytes) -> Handler:
    """A registry that holds these objects by digest, and `tag` under the image's tag."""
    by_digest = {digest_of(content): content for content in (*objects, tag)}

    def handler(request: httpx.Request) -> httpx.Response:
        name = request.url.path.rpartition("/")[2]
        content = tag if name == "1" else by_digest.get(name)
        return httpx.Response(404) if content is None else httpx.Response(200, content=content)

    return handler


CONFIG = json.dumps(
    {
        "os": "linux",
        "architecture": "amd64",
        "config": {"Env": ["PATH=/bin", "A=b=c"], "User": "app", "WorkingDir": "/srv", "StopSignal": "SIGINT"},
    }
).encode()
MANIFEST = json.dumps(
    {"mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {"digest": digest_of(CONFIG)}}
).encode()


def index(*architectures: str, digest: str = digest_of(MANIFEST)) -> bytes:
    entries = [{"digest": digest, "platform": {"os": "linux", "architecture": name}} for name in architectures]
    return json.dumps({"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries}).encode()


@pytest.mark.parametrize(
    ("response", "fact"),
    [
        (httpx.Response(200, headers={"docker-content-digest": "sha256:1"}), Present("sha256:1")),
        (httpx.Response(404), Absent()),
        (httpx.Response(200), Unknown("`registry.example` gives no digest for `registry.example/team/image:1`")),
        (httpx.Response(403), Unknown("`registry.example` refuses access to `team/image`")),
        (httpx.Response(429), Unknown("`registry.example` answers with status 429")),
        (httpx.Response(503), Unknown("`registry.example` answers with status 503")),
    ],
)
def test_presence_has_three_values(response: httpx.Response, fact: Fact) -> None:
    assert presence(lambda _: response) == fact


def test_no_answer_is_unknown() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused", request=request)

    assert presence(handler) == Unknown("`registry.example` does not answer (connection refused)", is_unreachable=True)


def test_a_registry_that_is_there_but_not_for_us_is_not_unreachable() -> None:
    def untrusted(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("self-signed", request=request) from ssl.SSLCertVerificationError("self-signed")

    def slow(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("", request=request)

    assert presence(untrusted) == Unknown("`registry.example` cannot be reached by TLS (self-signed)")
    assert presence(slow) == Unknown("`registry.example` does not answer (ReadTimeout)")


@pytest.mark.parametrize(
    ("response", "digest", "problem"),
    [
        (httpx.Response(200, headers={"docker-content-digest": "sha256:1"}), "sha256:1", ""),
        (httpx.Response(404), None, "`registry.example/team/image:1` does not exist"),
        (httpx.Response(500), None, "`registry.example` answers with status 500"),
    ],
)
def test_a_reference_is_pinned_as_it_is(response: httpx.Response, digest: str | None, problem: str) -> None:
    async def ask() -> ResolvedImage:
        async with RegistryClient(httpx.MockTransport(lambda _: response)) as client:
            return await client.pin("image:1", IMAGE)

    assert asyncio.run(ask()) == ResolvedImage("image:1", str(IMAGE), digest, problem=problem)


def test_nobody_listens() -> None:
    async def ask() -> Fact:
        async with RegistryClient() as client:
            return await client.presence(parse("127.0.0.1:1/team/image:1"))

    fact = asyncio.run(ask())
    assert isinstance(fact, Unknown)
    assert fact.is_unreachable


def test_an_index_is_resolved_to_the_platform_s_manifest() -> None:
    found = resolve(serving(MANIFEST, CONFIG, tag=index("arm64", "amd64")))
    assert found.digest == digest_of(MANIFEST)
    assert found.config.env == (("A", "b=c"), ("PATH", "/bin"))
    assert (found.config.user, found.config.workdir) == ("app", "/srv")
    assert json.loads(found.config.other) == {"StopSignal": "SIGINT"}


def test_of_several_variants_the_plain_one_is_taken() -> None:
    """What is compiled for newer processors would not run on every one of the platform."""
    entries = [
        {"digest": "sha256:" + "0" * 64, "platform": {"os": "linux", "architecture": "amd64", "variant": "v3"}},
        {"digest": digest_of(MANIFEST), "platform": {"os": "linux", "architecture": "amd64"}},
    ]
    assert resolve(serving(MANIFEST, CONFIG, tag=json.dumps({"manifests": entries}).encode())).is_resolved
    entries[0]["digest"] = digest_of(MANIFEST)
    assert resolve(serving(MANIFEST, CONFIG, tag=json.dumps({"manifests": entries[:1]}).encode())).is_resolved


def test_what_a_base_s_configuration_says() -> None:
    said = {
        "Shell": ["/bin/bash", "-c"],
        "OnBuild": ["RUN true"],
        "Volumes": {"/b": {}, "/a": {}},
        "Healthcheck": {"Test": ["NONE"], "Interval": 1.5, "Retries": None},
        "Labels": {"b": "1", "a": "2", "dev.flytebuild.image": "0" * 64, "dev.flytebuild.spec": "{}"},
    }
    config = json.dumps({"os": "linux", "architecture": "amd64", "config": said}).encode()
    manifest = json.dumps({"config": {"digest": digest_of(config)}}).encode()
    found = resolve(serving(manifest, config, tag=index("amd64", digest=digest_of(manifest))))
    assert found.problem == ""
    assert found.on_build == ("RUN true",)
    assert found.config.shell == ("/bin/bash", "-c")
    # What an image made by flytebuild says of itself is not true of what is made of it.
    assert found.config.labels == (("a", "2"), ("b", "1"))
    health, volumes = '{"Interval":1.5,"Retries":null,"Test":["NONE"]}', '{"/a":{},"/b":{}}'
    assert found.config.other == f'{{"Healthcheck":{health},"Volumes":{volumes}}}'


def test_a_platform_that_is_not_there_is_named_with_those_that_are() -> None:
    found = resolve(serving(MANIFEST, CONFIG, tag=index("arm64", "s390x")))
    assert found.digest is None
    assert "not there for `linux/amd64`, only for linux/arm64, linux/s390x" in found.problem


def test_a_manifest_of_another_architecture_is_refused_even_where_an_index_lists_it() -> None:
    config = json.dumps({"os": "linux", "architecture": "arm64"}).encode()
    manifest = json.dumps({"config": {"digest": digest_of(config)}}).encode()
    found = resolve(serving(manifest, config, tag=index("amd64", digest=digest_of(manifest))))
    assert found.problem == "`registry.example/team/image:1` is for `linux/arm64`, not for `linux/amd64`"


def test_a_config_that_is_no_text_is_refused() -> None:
    config = json.dumps({"config": {"Env": ["A=\ud800"]}}).encode()
    manifest = json.dumps({"config": {"digest": digest_of(config)}}).encode()
    found = resolve(serving(config, tag=manifest))
    assert not found.is_resolved
    assert not found.is_for_others
    assert "of a form that is not an image's" in found.problem


@pytest.mark.parametrize("config", [{"os": "linux", "architecture": "arm64"}, {"os": "windows"}])
def test_an_image_for_others_is_known_to_be_no_failure_of_the_moment(config: dict[str, str]) -> None:
    content = json.dumps(config).encode()
    manifest = json.dumps({"config": {"digest": digest_of(content)}}).encode()
    assert resolve(serving(content, tag=manifest)).is_for_others
    assert resolve(serving(tag=index("arm64"))).is_for_others
    assert not resolve(lambda _: httpx.Response(404)).is_for_others


def test_content_that_is_not_what_its_digest_says_is_refused() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=MANIFEST if "manifests" in request.url.path else CONFIG + b" ")

    assert "answered with other content" in resolve(handler).problem


def test_a_missing_image_and_a_missing_config_are_told_apart() -> None:
    missing = resolve(lambda _: httpx.Response(404))
    assert missing.problem == "`registry.example/team/image:1` does not exist"
    assert missing.is_missing
    assert not resolve(lambda _: httpx.Response(403)).is_missing
    assert not resolve(serving(tag=index("amd64"))).is_missing
    assert "is incomplete" in resolve(serving(tag=MANIFEST)).problem


@pytest.mark.parametrize("content", [b"<html>", b"[]"])
def test_something_else_than_a_manifest(content: bytes) -> None:
    assert "answers with something that is not" in resolve(serving(tag=content)).problem


@pytest.mark.parametrize(
    "document",
    [
        {"schemaVersion": 1, "fsLayers": []},
        {"config": None},
        {"config": {"digest": 3}},
        {"manifests": [{"platform": {"os": "linux", "architecture": "amd64"}}]},
        {"manifests": ["x"]},
    ],
)
def test_a_manifest_of_another_form_is_a_problem_not_a_crash(document: object) -> None:
    found = resolve(serving(tag=json.dumps(document).encode()))
    assert found.digest is None
    assert found.problem


def test_what_a_registry_refuses_to_whom_is_unknown() -> None:
    asked: list[str | None] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("authorization"))
        return httpx.Response(401, headers={"www-authenticate": 'Basic realm="x"'})

    assert presence(handler) == Unknown(
        "`registry.example` asks for credentials, and Docker's configuration has none for it"
    )
    assert presence(handler, Found(problem="`docker-credential-x` fails")) == Unknown(
        "`registry.example` asks for credentials, and `docker-credential-x` fails"
    )
    assert presence(handler, Found(Credentials("me", "secret"))) == Unknown(
        "`registry.example` refuses access to `team/image`"
    )
    assert asked == [None, None, None, "Basic bWU6c2VjcmV0"]
