"""Those who have wheels, asked over HTTP: several at once, with the credentials that an index's URL has."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import httpx

from flytebuild.errors import UnavailableError
from flytebuild.spec.layers import Pin

_TIMEOUT = httpx.Timeout(60.0, connect=20.0)
_AT_ONCE = 8
_PAUSES = (0.2, 1.0)
"""Seconds after which a connection that could not be made is tried again: a server may have too many for a moment."""

_BUSY = (408, 425, 429)
"""Statuses of a server that gives another answer at another time."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Servers:
    """`credentials` are user and password by host and port.

    `silent` are hosts that did not answer in time. They are not asked again, which raises httpx.TimeoutException at
    once: a host that hangs costs one wait, and not one for every few wheels.
    """

    client: httpx.Client
    credentials: dict[str, tuple[str, str]] = field(default_factory=dict, repr=False)
    silent: set[str] = field(default_factory=set)

    def get(self, url: str, *, accept: str = "*/*") -> httpx.Response:
        """The answer to a request, with all of its content."""
        with self._answer(url, {"Accept": accept}, self._auth(url)) as answer:
            answer.read()
            return answer

    @contextmanager
    def part(self, url: str, span: str, *, openly: bool = False) -> Iterator[httpx.Response]:
        """The answer to a request for some bytes (`0-0`; `-100` are the last ones), before its content is read.

        A server may give all of them. `openly` is without credentials.
        """
        headers = {"Range": f"bytes={span}", "Accept-Encoding": "identity"}
        auth = None if openly else self._auth(url)
        with self._answer(url, headers, auth) as answer:
            yield answer

    @contextmanager
    def _answer(self, url: str, headers: Mapping[str, str], auth: httpx.Auth | None) -> Iterator[httpx.Response]:
        host = host_of(url)
        if host in self.silent:
            raise httpx.TimeoutException("it did not answer before")
        try:
            with self._connected(self.client.build_request("GET", url, headers=headers), auth) as answer:
                yield answer
        except httpx.TimeoutException:
            self.silent.add(host)
            raise

    def _connected(self, request: httpx.Request, auth: httpx.Auth | None) -> closing[httpx.Response]:
        for pause in _PAUSES:
            try:
                return closing(self.client.send(request, auth=auth, stream=True))
            except httpx.ConnectError:
                time.sleep(pause)
        return closing(self.client.send(request, auth=auth, stream=True))

    def _auth(self, url: str) -> httpx.Auth | None:
        place = urlsplit(url).netloc
        return httpx.BasicAuth(*self.credentials[place]) if place in self.credentials else None


@contextmanager
def reached(ca_bundle: Path | None, indexes: Sequence[str] = ()) -> Iterator[Servers]:
    """Connections, for as long as they are needed; of `indexes` the credentials in their URLs count."""
    trusted = ssl.create_default_context(cafile=str(ca_bundle) if ca_bundle else None)
    with httpx.Client(timeout=_TIMEOUT, follow_redirects=True, verify=trusted) as client:
        yield Servers(client, _credentials(indexes))


def each(ask: Callable[[Pin], _T], pins: Sequence[Pin]) -> list[_T]:
    """What is answered of each wheel, in their order."""
    with ThreadPoolExecutor(_AT_ONCE, "flytebuild-wheels") as pool:
        return list(pool.map(ask, pins))


def size_of(answer: httpx.Response) -> int | None:
    """How large a file is of which some bytes, or all, were asked for; None where that is not told (RFC 9110, 14.4)."""
    if answer.status_code == httpx.codes.PARTIAL_CONTENT:
        told = answer.headers.get("Content-Range", "").rpartition("/")[2]
    else:
        told = answer.headers.get("Content-Length", "") if answer.is_success else ""
    return int(told) if told.isdecimal() else None


def is_passing(answer: httpx.Response) -> bool:
    """Whether the answer may be another one a little later."""
    return answer.is_server_error or answer.status_code in _BUSY


def unavailable(pin: Pin, error: Exception) -> UnavailableError:
    """What is said of a wheel that cannot be asked after."""
    return UnavailableError(
        f"What `{pin.filename}` needs cannot be read from `{host(pin)}` ({_reason(error)})",
        hint="see whether the index can be reached, and run `flytebuild lock` again",
    )


def host(pin: Pin) -> str:
    """Where a wheel is, without credentials."""
    return host_of(pin.url) or pin.url


def host_of(url: str) -> str:
    """A URL's host and port, without credentials; nothing where it has none. Raises ValueError for what is no URL."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _credentials(indexes: Sequence[str]) -> dict[str, tuple[str, str]]:
    found = {}
    for parts in map(urlsplit, indexes):
        if parts.username or parts.password:
            place = parts.netloc.rpartition("@")[2]
            found[place] = (unquote(parts.username or ""), unquote(parts.password or ""))
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"status {error.response.status_code}"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
