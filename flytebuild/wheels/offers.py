"""What whoever serves a wheel offers: whether everybody is given it, and its size where an index tells none.

Its first byte is asked for, since the answer says both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from msgspec import Struct
from msgspec.structs import replace

from flytebuild.spec.layers import Pin
from flytebuild.wheels.servers import Servers, each, is_passing, reached, size_of, unavailable

_FIRST = "0-0"


class Offer(Struct, frozen=True):
    """A wheel, with its size where anybody tells it; `is_open` where whoever asks is given it."""

    pin: Pin
    is_open: bool = True


def offers(
    pins: Sequence[Pin], indexes: Sequence[str], signed: Mapping[str, str], ca_bundle: Path | None, *, openly: bool
) -> tuple[Offer, ...]:
    """What is offered of each wheel. Without `openly` it is only asked for sizes that are not known.

    `indexes` are URLs whose credentials count for sizes on their hosts, and `signed` URLs to take for that, by hash. A
    wheel of which nobody says how large it is can be locked all the same. Raises UnavailableError where a host that is
    asked openly does not answer.
    """
    if not openly and all(pin.size is not None for pin in pins):
        return tuple(map(Offer, pins))
    with reached(ca_bundle, indexes) as servers:
        return tuple(each(lambda pin: _offer(servers, pin, signed.get(pin.sha256, pin.url), openly=openly), pins))


def _offer(servers: Servers, pin: Pin, url: str, *, openly: bool) -> Offer:
    if urlsplit(pin.url).scheme not in ("http", "https"):
        return Offer(pin)
    found = _openly(servers, pin) if openly else Offer(pin)
    if found.pin.size is not None or (openly and found.is_open):
        return found
    return replace(found, pin=replace(pin, size=_size(servers, url)))


def _openly(servers: Servers, pin: Pin) -> Offer:
    """What somebody is told who has no credentials; a page to log in at is no wheel."""
    try:
        with servers.part(pin.url, _FIRST, openly=True) as answer:
            if is_passing(answer):
                answer.raise_for_status()
            is_open = answer.is_success and not answer.headers.get("Content-Type", "").startswith("text/html")
            size = size_of(answer) if is_open and pin.size is None else pin.size
            return Offer(replace(pin, size=size), is_open)
    except httpx.HTTPError as error:
        raise unavailable(pin, error) from error


def _size(servers: Servers, url: str) -> int | None:
    try:
        with servers.part(url, _FIRST) as answer:
            return size_of(answer)
    except (httpx.HTTPError, httpx.InvalidURL):
        return None
