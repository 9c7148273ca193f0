"""What whoever serves a wheel says of it: one request tells whether everybody gets it, and how large it is."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from msgspec.structs import replace

from flytebuild.errors import UnavailableError
from flytebuild.spec.layers import Pin
from flytebuild.wheels.offers import offers
from tests.wheels.index import PASSWORD, SIGNATURE, Index, served


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with served(tmp_path) as found:
        found.add("leaf", "1.0", "common<2")
        yield found


@pytest.fixture
def leaf(index: Index) -> Pin:
    """A wheel of which the index has not said how large it is."""
    ((name, content),) = index.files["leaf"].items()
    return Pin("leaf", "1.0", name, sha256(content).hexdigest(), f"{index.url}/leaf/{name}")


def at(pin: Pin, place: str) -> Pin:
    """The wheel elsewhere on its server."""
    return replace(pin, url=pin.url.replace("/simple/", f"/{place}/"))


def test_whether_everybody_is_given_a_wheel(leaf: Pin) -> None:
    def closed(*pins: Pin) -> list[str]:
        return [offer.pin.url for offer in offers(pins, (), {}, None, openly=True) if not offer.is_open]

    assert closed(leaf, replace(leaf, url="file:///srv/leaf.whl")) == []
    for place in ("private", "signed", "login", "simple/nothing"):
        assert closed(leaf, at(leaf, place), leaf) == [at(leaf, place).url]
    for place, status in (("busy", 503), ("limited", 429)):
        with pytest.raises(UnavailableError, match=f"status {status}"):
            closed(leaf, at(leaf, place))


@pytest.mark.parametrize("has_ranges", [True, False])
def test_one_request_tells_a_size_as_well(has_ranges: bool, index: Index, leaf: Pin) -> None:
    index.has_ranges = has_ranges
    size = len(index.files["leaf"][leaf.filename])
    (offer,) = offers([leaf], (), {}, None, openly=True)
    assert (offer.pin.size, offer.is_open, len(index.requests)) == (size, True, 1)
    assert offer.pin == replace(leaf, size=size)


def test_sizes_are_what_servers_say_and_unknown_where_they_say_nothing(index: Index, leaf: Pin) -> None:
    size = len(index.files["leaf"][leaf.filename])
    known, gone = replace(leaf, size=7), replace(leaf, url=f"{index.url}/leaf/gone.whl")
    private, signed = at(leaf, "private"), replace(at(leaf, "signed"), sha256="2" * 64)
    nowhere, local = replace(leaf, url="http://127.0.0.1:1/x.whl"), replace(leaf, url="file:///x.whl")
    links = {signed.sha256: f"{signed.url}?{SIGNATURE}"}
    indexes = [index.private.replace("${TOKEN}", PASSWORD)]

    def sizes(*pins: Pin, openly: bool = False) -> list[int | None]:
        return [offer.pin.size for offer in offers(pins, indexes, links, None, openly=openly)]

    assert sizes(leaf, known, gone, private, signed, nowhere, local) == [size, 7, None, size, size, None, None]
    assert sizes(private, signed, openly=True) == [size, size]
    index.requests.clear()
    assert sizes(known) == [7]
    assert index.requests == []
    index.has_sizes = False
    assert sizes(leaf) == [None]
