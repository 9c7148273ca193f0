"""What registries want to see before they answer: a password, or a token that a service of theirs gives for it.

https://distribution.github.io/distribution/spec/auth/token/ and `oauth` beside it, for identity tokens.
"""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import httpx

from flytebuild.registry.credentials import Credentials, Found, look_up
from flytebuild.registry.reference import is_loopback
from flytebuild.threads import in_thread

Purpose: TypeAlias = tuple[str, str, str]
"""A registry's host, a repository, and what is to be done there: what one token is good for."""

_SCHEME = re.compile(r"(?:^|,)\s*(Basic|Bearer)(?=\s|,|$)", re.IGNORECASE)
_PARAMETER = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s,]+))')
_CLIENT = "flytebuild"

_SHORTEST = 60
"""Seconds that a token counts where its service does not say."""

_EARLY = 5
"""Seconds before its end from which a token is not used any more."""


class NotAuthorizedError(Exception):
    """Raised where a registry's question has no answer; the text says why."""


@dataclass(frozen=True, slots=True)
class _Header:
    value: str = field(repr=False)
    good_until: float | None = None


@dataclass
class Authorizer:
    """The `Authorization` headers of one client, kept for each purpose for as long as they are good."""

    http: httpx.AsyncClient
    look_up: Callable[[str, str], Found] = look_up
    clock: Callable[[], float] = time.monotonic
    _headers: dict[Purpose, _Header] = field(default_factory=dict, repr=False)
    _turns: defaultdict[Purpose, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock), repr=False)

    def header(self, purpose: Purpose) -> str | None:
        """What is known to be asked for, without a question."""
        known = self._headers.get(purpose)
        if known is None or (known.good_until is not None and known.good_until <= self.clock()):
            return None
        return known.value

    async def answer(self, purpose: Purpose, refusal: httpx.Response, rejected: str | None) -> str:
        """The header for one more try after a 401; `rejected` is what did not do, if something was sent.

        Requests for one purpose that are refused at the same time get one token. Raises NotAuthorizedError, and
        httpx's errors where a token service does not answer.
        """
        async with self._turns[purpose]:
            known = self.header(purpose)
            if known is None or known == rejected:
                found = await self._ask(purpose, refusal)
                if found.value == rejected:
                    raise NotAuthorizedError(f"`{purpose[0]}` refuses the credentials that there are for it")
                self._headers[purpose] = found
                known = found.value
            return known

    async def _ask(self, purpose: Purpose, refusal: httpx.Response) -> _Header:
        host, repository, _ = purpose
        challenges = dict(_challenges(refusal.headers.get("www-authenticate", "")))
        found = await in_thread(lambda: self.look_up(host, repository), "flytebuild-credentials")
        if "bearer" in challenges:
            return await self._token(purpose, challenges["bearer"], found)
        if "basic" not in challenges:
            raise NotAuthorizedError(f"`{host}` takes neither a password nor a token for `{repository}`")
        if found.credentials is None:
            why = found.problem or "Docker's configuration has none for it"
            raise NotAuthorizedError(f"`{host}` asks for credentials, and {why}")
        if not found.credentials.username:
            raise NotAuthorizedError(f"`{host}` asks for a password, and there is only a token for it")
        return _Header(_basic(found.credentials))

    async def _token(self, purpose: Purpose, challenge: Mapping[str, str], found: Found) -> _Header:
        host, repository, _ = purpose
        realm, credentials = challenge.get("realm", ""), found.credentials
        url = _url(realm)
        if url is None:
            raise NotAuthorizedError(f"`{host}` asks for a token without saying where to get one")
        if credentials and url.scheme != "https" and not is_loopback(url.host):
            raise NotAuthorizedError(f"`{host}` wants its password sent to `{realm}`, where everybody could read it")
        query = {"scope": challenge.get("scope") or f"repository:{repository}:pull"}
        if "service" in challenge:
            query["service"] = challenge["service"]
        asked = self.clock()
        if credentials and not credentials.username:
            form = {"grant_type": "refresh_token", "refresh_token": credentials.secret, "client_id": _CLIENT}
            answer = await self.http.post(url, data={**query, **form})
        else:
            headers = {"Authorization": _basic(credentials)} if credentials else {}
            answer = await self.http.get(url, params=query, headers=headers)
        if answer.status_code != httpx.codes.OK:
            why = f" ({found.problem})" if found.problem else ""
            raise NotAuthorizedError(f"`{host}` refuses a token for `{repository}`{why}")
        return _bearer(answer, asked, host)


def _challenges(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """What a registry takes, each scheme with its parameters."""
    found = list(_SCHEME.finditer(text))
    ends = [*(match.start() for match in found[1:]), len(text)]
    for match, end in zip(found, ends, strict=False):
        parameters = _PARAMETER.findall(text[match.end() : end])
        yield match[1].lower(), {name.lower(): quoted or bare for name, quoted, bare in parameters}


def _url(realm: str) -> httpx.URL | None:
    try:
        url = httpx.URL(realm)
    except httpx.InvalidURL:
        return None
    return url if url.scheme in ("http", "https") and url.host else None


def _basic(credentials: Credentials) -> str:
    return "Basic " + base64.b64encode(f"{credentials.username}:{credentials.secret}".encode()).decode()


def _bearer(answer: httpx.Response, asked: float, host: str) -> _Header:
    try:
        document = answer.json()
        token = document.get("token") or document.get("access_token")
        seconds = float(document.get("expires_in") or _SHORTEST)
    except (ValueError, TypeError, AttributeError):
        token = None
    if not token or not isinstance(token, str):
        raise NotAuthorizedError(f"`{host}` answers the request for a token without one")
    return _Header(f"Bearer {token}", asked + max(seconds, _SHORTEST) - _EARLY)
