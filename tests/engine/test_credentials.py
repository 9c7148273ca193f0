"""Registries that ask who one is: what is built is pushed there and found there, and a base is pulled from there."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Machine
from tests.engine import guarded
from tests.engine.conftest import Workspace, workspace_in
from tests.engine.guarded import Guarded
from tests.engine.nowhere import Search

pytestmark = pytest.mark.engine

MAIN = """
import flyte
image = flyte.Image.from_dockerfile("Dockerfile", registry=None, name="guarded")
env = flyte.TaskEnvironment("guarded", image=image)
"""


@pytest.fixture(scope="module")
def with_password(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded.by_password(tmp_path_factory.mktemp("registry")) as made:
        yield made


@pytest.fixture(scope="module")
def with_token(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded.by_token(tmp_path_factory.mktemp("registry")) as made:
        yield made


class Place:
    """A workspace whose image is pushed to a guarded registry, and the user's configuration."""

    def __init__(self, workspace: Workspace, registry: Guarded) -> None:
        self.told: list[str] = []
        self.registry = registry
        self.home = workspace.folder.parent
        self.prefix = f"{registry.host}/t{secrets.token_hex(4)}"
        environ = {**workspace.environ, "FLYTEBUILD_REGISTRY": self.prefix, "PATH": f"{self.home}/bin:/usr/bin:/bin"}
        self.workspace = replace(
            workspace, environ={name: text for name, text in environ.items() if name != "DOCKER_CONFIG"}
        )

    def starts_from(self, base: str) -> None:
        self.workspace.write(
            {"main.py": MAIN, "Dockerfile": f"FROM {base}\nCOPY nonce /\n", "nonce": secrets.token_hex(8)}
        )

    def docker(self, **document: Any) -> None:
        (self.home / ".docker").mkdir(exist_ok=True)
        (self.home / ".docker/config.json").write_text(json.dumps(document))

    def helper(self, name: str, script: str) -> None:
        (self.home / "bin").mkdir(exist_ok=True)
        path = self.home / f"bin/docker-credential-{name}"
        path.write_text(f"#!/bin/sh\nread -r server\necho $server >>{self.home}/calls\n{script}\n")
        path.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return (self.home / "calls").read_text().split()

    def build(self) -> str:
        """The image's reference; it is there afterwards, as far as a plan can see."""
        done = self.workspace.flytebuild("build", "-v", "--json", "--progress", "json", "main.py")
        self.told += [done.stdout, done.stderr]
        (image,) = json.loads(done.stdout)["images"]
        assert image["result"] == "built"
        assert self.workspace.statuses("main.py") == {"guarded": "present"}
        assert image["reference"].startswith(self.prefix)
        return str(image["reference"])


@pytest.fixture
def place(tmp_path: Path, machine: Machine) -> Iterator[Any]:
    folder = tmp_path / "work"
    folder.mkdir()
    with workspace_in(folder, machine, "") as workspace:
        yield lambda registry: Place(workspace, registry)


SMALL = "ghcr.io/acme/service:1"


def test_a_helper_s_password_pushes_and_pulls(place: Any, with_password: Guarded) -> None:
    here = place(with_password)
    answer = json.dumps({"Username": with_password.username, "Secret": with_password.password})
    here.helper("tests", f"echo '{answer}'")
    here.docker(credHelpers={with_password.host: "tests"})
    here.starts_from(SMALL)
    first = here.build()
    # The plan and BuildKit ask in one process, and the look afterwards in another.
    assert here.calls == [with_password.host] * 2
    here.starts_from(first)
    assert here.build() != first

    search = Search((with_password.password, with_password.auth))
    for text in here.told:
        search.look("told", text)
    search.look_below(here.home, here.home / "bin")
    search.look_in_registry(here.prefix, auth=(with_password.username, with_password.password))
    assert len(search.places) > 20
    assert not search.found


def test_a_place_of_podman_s_file(place: Any, with_password: Guarded) -> None:
    here = place(with_password)
    wrong = {"auth": "d3Jvbmc6d3Jvbmc="}
    (here.home / "auth.json").write_text(
        json.dumps({"auths": {here.prefix: {"auth": with_password.auth}, with_password.host: wrong}})
    )
    here.workspace.environ["REGISTRY_AUTH_FILE"] = str(here.home / "auth.json")
    here.starts_from(SMALL)
    here.build()


@pytest.mark.parametrize("kind", ["Basic", "identity token"])
def test_tokens(place: Any, with_token: Guarded, kind: str) -> None:
    here = place(with_token)
    entry = {"auth": with_token.auth} if kind == "Basic" else {"identitytoken": with_token.identity_token}
    here.docker(auths={with_token.host: entry})
    here.starts_from(SMALL)
    with_token.asked.clear()
    reference = here.build()
    repository = reference.partition("/")[2].rpartition(":")[0]
    # BuildKit tries an identity token as a password first.
    given = {(how, scope) for how, scope in with_token.asked if not how.startswith("wrong")}
    assert {how for how, _ in given} == {kind}
    assert {f"repository:{repository}:pull", f"repository:{repository}:pull,push"} <= {scope for _, scope in given}
    if kind != "Basic":
        here.starts_from(reference)
        assert here.build() != reference


def test_nobody_is_let_in_without_and_why_is_told(place: Any, with_password: Guarded) -> None:
    here = place(with_password)
    here.helper("broken", "echo >&2 the keyring is locked; exit 1")
    here.docker(credsStore="broken")
    here.starts_from(SMALL)
    planned = here.workspace.plan("main.py")
    (image,) = planned["images"]
    assert image["status"] == "unknown"
    assert "`docker-credential-broken` fails (the keyring is locked)" in image["reason"]
    failed = here.workspace.flytebuild("build", "main.py", code=69)
    assert "`docker-credential-broken` fails (the keyring is locked)" in failed.stderr
