"""Where credentials are found, and that nobody waits for a helper that hangs."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flytebuild.registry import credentials
from flytebuild.registry.credentials import Credentials, Found, Keychain

ME = Credentials("me", "s3cret:with colon")


def encoded(username: str, secret: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{username}:{secret}".encode()).decode()}


@dataclass
class Home:
    """A user's configuration, and programs on their PATH."""

    folder: Path
    now: float = 0.0

    def __post_init__(self) -> None:
        self.environ = {"DOCKER_CONFIG": str(self.folder), "PATH": f"{self.folder}:{os.environ['PATH']}"}
        self.keychain = Keychain(self.environ, lambda: self.now)

    def docker(self, **document: Any) -> None:
        (self.folder / "config.json").write_text(json.dumps(document))

    def podman(self, **document: Any) -> None:
        (self.folder / "auth.json").write_text(json.dumps(document))
        self.environ["REGISTRY_AUTH_FILE"] = str(self.folder / "auth.json")

    def helper(self, name: str, script: str) -> None:
        """A program that notes each call, with what it is asked, before anything else."""
        path = self.folder / f"docker-credential-{name}"
        path.write_text(f'#!/bin/sh\nread -r server\necho "$1 $server" >>{self.folder}/calls\n{script}\n')
        path.chmod(0o755)

    def answering(self, name: str, answers: Mapping[str, tuple[str, str]]) -> None:
        cases = "".join(
            f"{server}) echo '{json.dumps({'ServerURL': server, 'Username': user, 'Secret': secret})}';;\n"
            for server, (user, secret) in answers.items()
        )
        missing = "*) echo credentials not found in native keychain; exit 1;;"
        self.helper(name, f"case $server in\n{cases}{missing}\nesac")

    @property
    def calls(self) -> list[str]:
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def find(self, host: str, repository: str = "") -> Credentials | None:
        found = self.keychain.look_up(host, repository)
        assert not found.problem
        return found.credentials


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_without_a_file_there_are_none(home: Home) -> None:
    assert home.keychain.look_up("r.example", "team/image") == Found()


@pytest.mark.parametrize("key", ["r.example:5000", "https://r.example:5000", "http://r.example:5000/v2/"])
def test_an_entry_of_docker_s_file(home: Home, key: str) -> None:
    home.docker(auths={key: encoded(ME.username, ME.secret), "other.example": {}})
    assert home.find("r.example:5000") == home.find("r.example:5000", "team/image") == ME
    assert home.find("other.example") is None
    assert home.find("r.example") is None


@pytest.mark.parametrize("host", ["docker.io", "index.docker.io", "registry-1.docker.io"])
@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io"])
def test_the_hub_has_many_names(home: Home, host: str, key: str) -> None:
    home.docker(auths={key: {"username": "me", "password": ME.secret}})
    assert home.find(host) == ME


def test_an_identity_token_comes_before_a_password(home: Home) -> None:
    home.docker(auths={"r.example": {**encoded("me", "x"), "identitytoken": "t0ken"}})
    assert home.find("r.example") == Credentials("", "t0ken")


def test_the_most_specific_place_of_podman_s_file(home: Home) -> None:
    home.podman(
        auths={
            "r.example": encoded("all", "1"),
            "r.example/team": encoded("team", "2"),
            "r.example/team/image": encoded("image", "3"),
            "docker.io/library": encoded("hub", "4"),
        }
    )
    home.docker(auths={"r.example": encoded("docker", "5"), "docker.only": encoded("docker", "6")})
    for host, repository, user in (
        ("r.example", "team/image", "image"),
        ("r.example", "team/image/below", "image"),
        ("r.example", "team/image2", "team"),
        ("r.example", "other", "all"),
        ("r.example", "", "all"),
        ("registry-1.docker.io", "library/python", "hub"),
        # What the one file does not have, the other may.
        ("docker.only", "x", "docker"),
    ):
        found = home.find(host, repository)
        assert found
        assert found.username == user


def test_a_registry_s_own_helper_comes_first_and_the_store_before_entries(home: Home) -> None:
    home.answering("own", {"r.example": ("own", "1")})
    home.answering("all", {"s.example": ("all", "2"), "r.example": ("no", "no")})
    entries = {name: encoded("entry", "3") for name in ("r.example", "s.example", "t.example", "r.example/x")}
    home.docker(auths=entries, credHelpers={"r.example": "own"}, credsStore="all")
    assert home.find("r.example", "x") == Credentials("own", "1")
    assert home.find("s.example") == Credentials("all", "2")
    assert home.find("t.example") == Credentials("entry", "3")
    assert home.calls == ["get r.example", "get s.example", "get t.example"]


def test_a_helper_may_give_an_identity_token_and_knows_the_hub_by_its_old_name(home: Home) -> None:
    home.answering("own", {"https://index.docker.io/v1/": ("<token>", "t0ken")})
    home.docker(credHelpers={"docker.io": "own"})
    assert home.find("registry-1.docker.io") == Credentials("", "t0ken")


def test_a_helper_is_asked_once_however_many_want_to_know(home: Home) -> None:
    home.answering("own", {"r.example": ("me", ME.secret)})
    home.docker(credsStore="own")
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda number: home.find("r.example", f"image{number}"), range(40))) == {ME}
    assert home.find("nothing.example") is home.find("nothing.example") is None
    assert home.calls == ["get r.example", "get nothing.example"]
    # But not for ever: what they give may expire.
    home.now += 3600
    assert home.find("r.example") == ME
    assert len(home.calls) == 3


def test_a_file_that_changes_is_read_again(home: Home) -> None:
    assert home.find("r.example") is None
    home.docker(auths={"r.example": encoded("me", ME.secret)})
    assert home.find("r.example") == ME


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("sleep 30 & wait", "`docker-credential-bad` gives no answer within 0.3 s"),
        ("echo s3cret; exit 3", "`docker-credential-bad` fails (exit code 3)"),
        ("echo >&2 one; echo >&2 two; exit 1", "`docker-credential-bad` fails (two)"),
        ("echo s3cret", "`docker-credential-bad` answers with something else than credentials"),
        ("echo '[\"s3cret\"]'", "`docker-credential-bad` answers with something else than credentials"),
        ('echo \'{"Username": "s3cret"}\'', "`docker-credential-bad` answers with something else than credentials"),
    ],
)
def test_a_helper_that_does_not_work(home: Home, script: str, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "DEADLINE", 0.3)
    home.helper("bad", script)
    home.docker(credsStore="bad", auths={"known.example": encoded("me", ME.secret)})
    assert home.keychain.look_up("r.example") == Found(problem=problem)
    assert home.keychain.look_up("known.example").credentials == ME


@pytest.mark.parametrize(
    ("helper", "problem"),
    [
        ("missing", "`docker-credential-missing` cannot be run (No such file or directory)"),
        ("../../bin/sh", "`../../bin/sh` is no credential helper's name"),
    ],
)
def test_a_helper_that_is_none(home: Home, helper: str, problem: str) -> None:
    home.docker(credHelpers={"r.example": helper})
    assert home.keychain.look_up("r.example") == Found(problem=problem)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "`{0}` is not JSON"),
        ("[]", "`{0}` is not a file with credentials"),
        ('{"auths": 3}', "`{0}` is not a file with credentials"),
        ('{"auths": {"r.example": {"auth": "s3cret"}}}', "the entry for `r.example` in `{0}` cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_problem_and_no_more(home: Home, text: str, problem: str) -> None:
    (home.folder / "config.json").write_text(text)
    found = home.keychain.look_up("r.example")
    assert found == Found(problem=problem.format(home.folder / "config.json"))
    home.podman(auths={"r.example": encoded("me", ME.secret)})
    assert home.find("r.example") == ME


def test_helpers_of_several_registries_are_not_waited_for_one_after_the_other(home: Home) -> None:
    """Each waits for the other one's call."""
    (home.folder / "calls").touch()
    home.helper("own", f'until [ "$(wc -l <{home.folder}/calls)" = 2 ]; do sleep 0.01; done; exit 1')
    home.docker(credsStore="own")
    threads = [threading.Thread(target=home.keychain.look_up, args=(host,)) for host in ("a.example", "b.example")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(home.calls) == 2


def test_nothing_is_printed() -> None:
    assert "hunter2" not in repr(Credentials("me", "hunter2")) + repr(Found(Credentials("me", "hunter2")))
    assert "me" not in repr(Credentials("me", "hunter2")).removeprefix("Credentials")
