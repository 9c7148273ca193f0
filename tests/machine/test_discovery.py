"""The engine that the user has: `DOCKER_HOST`, then docker's context, then the default socket."""

from __future__ import annotations

import hashlib
import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from scripts.machine import discovery
from scripts.machine.discovery import find_engine
from scripts.machine.docker_api import Address
from scripts.machine.report import MachineError

OWN = "unix:///state/root/run/docker.sock"


class _Engine(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/_ping" else 404)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass

    def address_string(self) -> str:
        return "unix"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[str]:
    """The address of something that answers a ping."""
    path = tmp_path / "engine.sock"
    with socketserver.ThreadingUnixStreamServer(str(path), _Engine) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"unix://{path}"
        server.shutdown()


@pytest.fixture(autouse=True)
def no_default_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "DEFAULT_HOST", "unix:///nowhere/docker.sock")


def write_context(home: Path, name: str, host: str) -> None:
    folder = home / ".docker/contexts/meta" / hashlib.sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps({"Name": name, "Endpoints": {"docker": {"Host": host}}}))
    (home / ".docker/config.json").write_text(json.dumps({"currentContext": name}))


def test_docker_host_comes_first(engine: str, tmp_path: Path) -> None:
    write_context(tmp_path, "other", "unix:///nowhere/other.sock")
    assert find_engine({"DOCKER_HOST": engine}, tmp_path, own_host=OWN) == Address(engine)


def test_docker_host_without_an_engine_is_an_error_and_nothing_else_is_taken(engine: str, tmp_path: Path) -> None:
    write_context(tmp_path, "other", engine)
    with pytest.raises(MachineError, match=r"`DOCKER_HOST` is `unix:///nowhere\.sock`, and no engine answers there"):
        find_engine({"DOCKER_HOST": "unix:///nowhere.sock"}, tmp_path, own_host=OWN)


def test_docker_host_that_is_our_own_means_none_of_theirs(tmp_path: Path) -> None:
    assert find_engine({"DOCKER_HOST": OWN}, tmp_path, own_host=OWN) is None


def test_the_current_context_is_followed(engine: str, tmp_path: Path) -> None:
    write_context(tmp_path, "mine", engine)
    assert find_engine({}, tmp_path, own_host=OWN) == Address(engine)


def test_the_default_socket_comes_last(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_context(tmp_path, "asleep", "unix:///nowhere/asleep.sock")
    monkeypatch.setattr(discovery, "DEFAULT_HOST", engine)
    assert find_engine({}, tmp_path, own_host=OWN) == Address(engine)


@pytest.mark.parametrize("text", ["", "[]", '{"currentContext": 7}', '{"currentContext": "gone"}'])
def test_a_strange_docker_configuration_is_no_engine(tmp_path: Path, text: str) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text(text)
    assert find_engine({}, tmp_path, own_host=OWN) is None


@pytest.mark.parametrize("host", ["ssh://somebody@somewhere", "nonsense", "unix:///" + "x" * 200])
def test_an_address_that_cannot_be_reached_does_not_answer(host: str) -> None:
    assert not Address(host).is_answering()
