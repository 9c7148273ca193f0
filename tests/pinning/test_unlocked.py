"""What layers come to without a lock: decided once a day, remembered, and no reason to fail where nobody answers."""

from __future__ import annotations

import asyncio
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from flytebuild.config import Config
from flytebuild.errors import DefinitionError
from flytebuild.events import Event, Notice
from flytebuild.pinning import unlocked
from flytebuild.registry.client import RegistryClient
from flytebuild.state import State
from flytebuild.wheels.base import KIND, Base, encode
from flytebuild.wheels.lock import Lock, Specs
from tests.samples import AMD64, BASE, made_of, pip
from tests.wheels.index import Index, served

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
HERE = Base(platform.python_version(), (platform.python_version(),), (2, 28))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with served(tmp_path / "index") as found:
        found.add("leaf", "1.0")
        found.files["source"] = {"source-1.0.tar.gz": b"of no use"}
        yield found


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(tmp_path / "state.sqlite") as opened:
        opened.remember(KIND, BASE.digest or "", encode(HERE))
        yield opened


def specs(url: str, *names: str) -> Specs:
    return {name: {AMD64: made_of(pip(name, index_url=url), python=MINOR)} for name in names}


def decided(asked: Specs, state: State, config: Config | None = None) -> tuple[Lock, list[str]]:
    """The lock, and what was told."""
    told: list[Event] = []

    async def decide() -> Lock:
        async with RegistryClient() as client:

            async def connect() -> RegistryClient:
                return client

            return await unlocked.decided(config or Config(), asked, connect, state, told.append)

    found = asyncio.run(decide())
    return found, [event.message for event in told if isinstance(event, Notice)]


def test_it_is_decided_once_a_day(index: Index, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unlocked, "_stamp", lambda: "one day")
    asked = specs(index.url, "leaf", "source")
    found, told = decided(asked, state)
    assert [(pin.name, pin.version) for layer in found.layers for pin in layer.pins] == [("leaf", "1.0")]
    assert [layer.asked for layer in found.unlocked] == ["pip: source"]
    assert told == ["`pip: leaf` (main.py:1): 1 wheel"]

    index.add("leaf", "2.0")
    count = len(index.requests)
    again, told = decided(asked, state)
    assert [layer.pins for layer in again.layers] == [layer.pins for layer in found.layers]
    assert (told, len(index.requests)) == ([], count), "nobody is asked"

    monkeypatch.setattr(unlocked, "_stamp", lambda: "another day")
    assert decided(asked, state, replace(Config(), offline=True))[0].layers == again.layers
    monkeypatch.setenv("UV_CACHE_DIR", str(index.folder / "another-cache"))
    later, _ = decided(asked, state)
    assert [pin.version for layer in later.layers for pin in layer.pins] == ["2.0"]


@pytest.mark.parametrize("is_ready", [True, False])
def test_it_is_remembered_whether_a_base_is_ready(index: Index, state: State, is_ready: bool) -> None:
    state.remember(KIND, BASE.digest or "", encode(replace(HERE, is_ready=is_ready)))
    asked = specs(index.url, "leaf", "source")
    expected = {BASE.digest: is_ready}
    assert decided(asked, state)[0].ready == expected
    assert decided(asked, state)[0].ready == expected
    assert decided(asked, state, replace(Config(), offline=True))[0].ready == expected
    assert decided({**asked, **specs(index.url, "gone")}, state, replace(Config(), offline=True))[0].ready == expected


def test_what_other_indexes_of_the_host_s_said_is_not_remembered(
    index: Index, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: Specs = {"env": {AMD64: made_of(pip("leaf"), python=MINOR)}}
    monkeypatch.setenv("UV_INDEX_URL", index.url)
    assert decided(asked, state)[0].layers[0].pins[0].version == "1.0"
    count = len(index.requests)
    monkeypatch.setenv("UV_INDEX_URL", index.url.replace("//", "//user:password@"))
    assert decided(asked, state)[0].layers[0].pins[0].version == "1.0"
    assert len(index.requests) == count, "the same index, whoever asks it"
    monkeypatch.setenv("UV_INDEX_URL", "http://127.0.0.1:1/simple")
    assert decided(asked, state)[0].layers == ()


def test_what_others_have_decided_is_not_preferred(index: Index, state: State) -> None:
    index.add("leaf", "2.0")
    capped = {"one": {AMD64: made_of(pip("leaf<2", index_url=index.url), python=MINOR)}}
    both = {**capped, "other": specs(index.url, "leaf")["leaf"]}
    decided(capped, state)
    found, _ = decided(both, state)
    assert {layer.asked: layer.pins[0].version for layer in found.layers} == {"pip: leaf<2": "1.0", "pip: leaf": "2.0"}


def test_nobody_who_could_be_asked_is_no_failure(state: State, index: Index) -> None:
    asked = specs("http://127.0.0.1:1/simple", "leaf")
    found, told = decided(asked, state)
    assert [(layer.asked, layer.reason) for layer in found.unlocked] == [
        ("pip: leaf", "its versions could not be found out")
    ]
    (said,) = told
    assert said.startswith(
        "`pip: leaf` (main.py:1) cannot be locked: `http://127.0.0.1:1/simple/leaf/` cannot be reached; "
    )
    (left,) = decided(asked, state, replace(Config(), offline=True))[0].unlocked
    assert "offline" in left.reason
    with pytest.raises(DefinitionError):
        decided({"env": {AMD64: made_of(pip("leaf>9", index_url=index.url), python=MINOR)}}, state)
