"""What registries ask for before they answer, and how long an answer is good for.

The tests in `tests/engine` log in to a real registry.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs

import httpx
import pytest

from flytebuild.facts import Absent, Fact, Unknown
from flytebuild.registry.auth import Authorizer
from flytebuild.registry.client import RegistryClient
from flytebuild.registry.credentials import Credentials, Found
from flytebuild.registry.reference import parse

IMAGE = parse("registry.example/team/image:1")
OTHER = parse("registry.example/team/other:1")
ME = Found(Credentials("me", "secret"))
BASIC = "Basic " + base64.b64encode(b"me:secret").decode()
TOKEN_SERVICE = 'realm="https://auth.example/token",service="s p",scope="repository:{0}:pull"'


@dataclass
class World:
    """A registry and its token service: what they were asked, and which tokens still count."""

    found: Found = field(default_factory=Found)
    lifetime: int | None = 300
    challenge: str = f"Bearer {TOKEN_SERVICE}"
    now: float = 0.0
    requests: list[str] = field(default_factory=list)
    forms: list[dict[str, list[str]]] = field(default_factory=list)
    good: set[str] = field(default_factory=set)
    _issued: int = 0

    def handler(self, request: httpx.Request) -> httpx.Response:
        header = request.headers.get("authorization", "")
        self.requests.append(f"{request.method} {request.url.host} {header}".strip())
        if request.url.host == "auth.example":
            self.forms.append(parse_qs((request.content or request.url.query).decode()))
            self._issued += 1
            self.good = {f"t{self._issued}"}
            lifetime = {"expires_in": self.lifetime} if self.lifetime else {}
            name = "access_token" if request.method == "POST" else "token"
            return httpx.Response(200, json={name: f"t{self._issued}", **lifetime})
        if header.removeprefix("Bearer ") in self.good:
            return httpx.Response(404)
        repository = request.url.path.removeprefix("/v2/").partition("/manifests")[0]
        return httpx.Response(401, headers={"www-authenticate": self.challenge.format(repository)})

    def ask(self, *steps: Callable[[], None] | None, at_once: int = 1) -> list[Fact]:
        """The registry's answers, with something happening before each."""

        async def run() -> list[Fact]:
            transport = httpx.MockTransport(self.handler)
            async with RegistryClient(transport, lambda _host, _repository: self.found) as client:
                client._authorizer.clock = lambda: self.now
                facts: list[Fact] = []
                for step in steps:
                    if step:
                        step()
                    facts += await asyncio.gather(*(client.presence(IMAGE) for _ in range(at_once)))
                return facts

        return asyncio.run(run())

    def pass_time(self, seconds: float) -> Callable[[], None]:
        def act() -> None:
            self.now += seconds

        return act


@pytest.mark.parametrize(("found", "asks"), [(Found(), "GET auth.example"), (ME, f"GET auth.example {BASIC}")])
def test_a_token_is_fetched_once_and_sent_from_then_on(found: Found, asks: str) -> None:
    world = World(found)
    assert world.ask(None, None) == [Absent()] * 2
    known = "HEAD registry.example Bearer t1"
    assert world.requests == ["HEAD registry.example", asks, known, known]
    assert world.forms == [{"service": ["s p"], "scope": ["repository:team/image:pull"]}]


def test_an_identity_token_is_exchanged() -> None:
    world = World(Found(Credentials("", "refresh")))
    assert world.ask(None) == [Absent()]
    assert world.requests[1:] == ["POST auth.example", "HEAD registry.example Bearer t1"]
    assert world.forms == [
        {
            "grant_type": ["refresh_token"],
            "refresh_token": ["refresh"],
            "client_id": ["flytebuild"],
            "service": ["s p"],
            "scope": ["repository:team/image:pull"],
        }
    ]


@pytest.mark.parametrize(("lifetime", "kept"), [(300, 290), (None, 50)])
def test_a_token_is_not_used_after_its_end(lifetime: int | None, kept: float) -> None:
    world = World(ME, lifetime)
    assert world.ask(None, world.pass_time(kept), world.pass_time(10)) == [Absent()] * 3
    assert [line for line in world.requests if line.startswith("HEAD")] == [
        "HEAD registry.example",
        "HEAD registry.example Bearer t1",
        "HEAD registry.example Bearer t1",
        # What has expired is not even sent.
        "HEAD registry.example",
        "HEAD registry.example Bearer t2",
    ]


def test_a_token_that_is_refused_before_its_end_is_replaced_once() -> None:
    world = World(ME)
    assert world.ask(None, lambda: world.good.clear()) == [Absent()] * 2
    assert world.requests[3:] == [
        "HEAD registry.example Bearer t1",
        f"GET auth.example {BASIC}",
        "HEAD registry.example Bearer t2",
    ]


def test_a_registry_that_takes_no_token_is_asked_no_third_time() -> None:
    world = World(ME)
    world.good = frozenset()  # type: ignore[assignment]

    def never(request: httpx.Request) -> httpx.Response:
        answer = world.handler(request)
        world.good = set()
        return answer

    async def run() -> Fact:
        async with RegistryClient(httpx.MockTransport(never), lambda _host, _repository: ME) as client:
            return await client.presence(IMAGE)

    assert asyncio.run(run()) == Unknown("`registry.example` refuses access to `team/image`")
    assert len(world.requests) == 3


def test_requests_at_the_same_time_share_one_token() -> None:
    world = World(ME)
    assert world.ask(None, at_once=10) == [Absent()] * 10
    assert len(world.forms) == 1


def test_each_repository_has_a_token_of_its_own() -> None:
    world = World(ME)

    async def run() -> None:
        async with RegistryClient(httpx.MockTransport(world.handler), lambda _host, _repository: ME) as client:
            await client.presence(IMAGE)
            await client.presence(OTHER)

    asyncio.run(run())
    assert [form["scope"] for form in world.forms] == [["repository:team/image:pull"], ["repository:team/other:pull"]]


@pytest.mark.parametrize(
    "challenge",
    [
        f"Bearer {TOKEN_SERVICE}",
        f"bearer {TOKEN_SERVICE}",
        f'Basic realm="x, Bearer y", Bearer {TOKEN_SERVICE}',
        f'Bearer {TOKEN_SERVICE}, Basic realm="x"',
        f'Digest realm="x",Bearer {TOKEN_SERVICE}',
        'Bearer realm="https://auth.example/token", service="s p"',
        "Bearer realm=https://auth.example/token,service=x",
    ],
)
def test_challenges_of_many_forms(challenge: str) -> None:
    world = World(ME, challenge=challenge)
    assert world.ask(None) == [Absent()]
    assert world.forms[0]["scope"] == ["repository:team/image:pull"]


@pytest.mark.parametrize(
    ("challenge", "found", "why"),
    [
        ("Bearer scope=x", ME, "`registry.example` asks for a token without saying where to get one"),
        ('Bearer realm="nowhere"', ME, "`registry.example` asks for a token without saying where to get one"),
        (
            'Bearer realm="file:///etc/passwd"',
            ME,
            "`registry.example` asks for a token without saying where to get one",
        ),
        (
            'Bearer realm="http://auth.example/token"',
            ME,
            "`registry.example` wants its password sent to `http://auth.example/token`, where everybody could read it",
        ),
        ("Digest x", ME, "`registry.example` takes neither a password nor a token for `team/image`"),
        ("", ME, "`registry.example` takes neither a password nor a token for `team/image`"),
        (
            "Basic",
            Found(Credentials("", "refresh")),
            "`registry.example` asks for a password, and there is only a token for it",
        ),
    ],
)
def test_a_challenge_that_has_no_answer(challenge: str, found: Found, why: str) -> None:
    world = World(found, challenge=challenge)
    assert world.ask(None) == [Unknown(why)]
    assert len(world.requests) == 1


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (httpx.Response(401, json={"token": "t"}), "`registry.example` refuses a token for `team/image`"),
        (httpx.Response(200), "`registry.example` answers the request for a token without one"),
        (httpx.Response(200, json=["x"]), "`registry.example` answers the request for a token without one"),
        (httpx.Response(200, json={"token": ["x"]}), "`registry.example` answers the request for a token without one"),
        (
            httpx.Response(200, json={"token": "t", "expires_in": "soon"}),
            "`registry.example` answers the request for a token without one",
        ),
        (httpx.Response(200, text="<html>"), "`registry.example` answers the request for a token without one"),
    ],
)
def test_a_token_service_that_gives_none(answer: httpx.Response, why: str) -> None:
    world = World(ME)

    def handler(request: httpx.Request) -> httpx.Response:
        return answer if request.url.host == "auth.example" else world.handler(request)

    async def run() -> Fact:
        async with RegistryClient(httpx.MockTransport(handler), lambda _host, _repository: ME) as client:
            return await client.presence(IMAGE)

    assert asyncio.run(run()) == Unknown(why)


def test_why_there_are_no_credentials_is_told_where_a_token_is_refused() -> None:
    world = World()

    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(403) if request.url.host == "auth.example" else world.handler(request)

    async def run() -> Fact:
        found = Found(problem="`docker-credential-x` fails")
        async with RegistryClient(httpx.MockTransport(handler), lambda _host, _repository: found) as client:
            return await client.presence(IMAGE)

    why = "`registry.example` refuses a token for `team/image` (`docker-credential-x` fails)"
    assert asyncio.run(run()) == Unknown(why)


def test_nothing_of_it_is_printed() -> None:
    async def run() -> str:
        async with httpx.AsyncClient() as http:
            authorizer = Authorizer(http, lambda _host, _repository: ME)
            challenge = httpx.Response(401, headers={"www-authenticate": "Basic"})
            await authorizer.answer(("r.example", "x", "pull"), challenge, None)
            return repr(authorizer)

    printed = asyncio.run(run())
    assert "secret" not in printed
    assert BASIC.split()[1] not in printed
