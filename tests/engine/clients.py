"""Clients of two engines and one registry, whose requests are counted on their way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import docker
import httpx

from tests import plain
from tests.command import Fork
from tests.conftest import Machine
from tests.engine.conftest import Workspace, workspace_in
from tests.registry_proxy import RegistryProxy

ACCEPT = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"
SMALL = 100_000
"""More bytes than a config or a manifest has here, fewer than a layer that is worth sparing."""


@dataclass
class Told:
    """What a command that was asked for JSON says: its document, and its events line by line."""

    document: dict[str, Any]
    events: list[dict[str, Any]]

    @property
    def manifests(self) -> dict[str, str]:
        """Each environment's manifest."""
        return {name: image["manifest"] for image in self.document["images"] for name in image["environments"]}

    @property
    def results(self) -> dict[str, str]:
        """What became of each environment's image."""
        return {name: image["result"] for image in self.document["images"] for name in image["environments"]}

    @property
    def executed(self) -> set[str]:
        """The steps that ran. Sources are looked at and exports made in any case; files are called as their copy is."""
        ended = [event for event in self.events if event["event"] == "step_finished"]
        cached = {event["name"] for event in ended if event["cached"]}
        always = (
            "base ",
            "uv from ghcr.io",
            "importing ",
            "exporting ",
            "[internal]",
            "[context ",
            "build context",
            "Dockerfile",
        )
        return {event["name"] for event in ended if not event["name"].startswith(always)} - cached

    @property
    def notices(self) -> list[str]:
        return [event["message"] for event in self.events if event["event"] == "notice"]


@dataclass
class Client:
    """A user's machine: a folder, a home that remembers nothing at first, an engine."""

    workspace: Workspace

    def start(self, *arguments: str, **environ: str) -> Fork:
        """Start `flytebuild build`, and leave it to run."""
        build = ("build", "--json", "--progress", "json", *arguments)
        return Fork("flytebuild", build, self.workspace.folder, {**self.workspace.environ, **environ})

    def build(self, *arguments: str, **environ: str) -> Told:
        """Run `flytebuild build` to its good end."""
        return told(self.start(*arguments, **environ))


def told(process: Fork) -> Told:
    """What a build said, which must end well."""
    done = process.end()
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("{")]
    return Told(json.loads(done.stdout), [json.loads(line) for line in lines])


@dataclass
class Registry:
    """The registry as the tests see it: behind the proxy, at a path of their own."""

    proxy: RegistryProxy
    path: str

    @property
    def prefix(self) -> str:
        return f"{self.proxy.host}/{self.path}"

    def manifest(self, reference: str) -> httpx.Response:
        """What a reference leads to, asked for behind the proxy's back."""
        host, _, path = reference.partition("/")
        assert host == self.proxy.host
        name, _, target = path.partition("@") if "@" in path else path.rpartition(":")
        return self.ask("GET", f"{name}/manifests/{target}")

    def layers(self, reference: str) -> list[str]:
        """The digests of an image's layers."""
        return [layer["digest"] for layer in self.manifest(reference).raise_for_status().json()["layers"]]

    def is_whole(self, reference: str) -> bool:
        """Whether everything is there that a manifest names."""
        document = self.manifest(reference).raise_for_status().json()
        name = reference.partition("/")[2].partition("@")[0].partition(":")[0]
        blobs = [document["config"], *document["layers"]]
        return all(self.ask("HEAD", f"{name}/blobs/{blob['digest']}").status_code == 200 for blob in blobs)

    def forget(self, reference: str) -> None:
        """Delete an image, but not its blobs."""
        digest = self.manifest(reference).headers["docker-content-digest"]
        name = reference.partition("/")[2].rpartition(":")[0]
        assert self.ask("DELETE", f"{name}/manifests/{digest}").status_code == 202

    def lose(self, repository: str, digest: str) -> None:
        """Delete a blob that manifests of a repository name."""
        assert self.ask("DELETE", f"{self.path}/{repository}/blobs/{digest}").status_code == 202

    def tags(self, repository: str) -> set[str]:
        answer = self.ask("GET", f"{self.path}/{repository}/tags/list")
        return set(answer.json().get("tags") or ()) if answer.status_code == 200 else set()

    def ask(self, method: str, path: str) -> httpx.Response:
        return plain.request(method, f"http://{self.proxy.upstream}/v2/{path}", headers={"Accept": ACCEPT})


@dataclass
class Bench:
    """Makes clients, whose folders have the same files."""

    folder: Path
    machine: Machine
    second: Machine
    registry: Registry
    files: Mapping[str, str]
    _stack: ExitStack = field(default_factory=ExitStack)

    def client(self, name: str, *, second: bool = False, registry: str = "") -> Client:
        """A client on the first or the second engine, which pushes to `registry` below the tests' own path."""
        machine = self.second if second else self.machine
        host = self.registry.proxy.host
        mirrors = {key: f"{host}/{to.partition('/')[2]}" for key, to in self.machine.mirrors.items()}
        folder = self.folder / name / "code"
        folder.mkdir(parents=True)
        prefix = f"{self.registry.prefix}/{registry}".rstrip("/")
        made = self._stack.enter_context(workspace_in(folder, replace(machine, mirrors=mirrors), prefix))
        made.write(self.files)
        return Client(made)

    def wipe_second(self) -> None:
        """Have the second engine forget everything that it was given or made."""
        client = docker.DockerClient(self.second.docker_host)
        try:
            client.api.post(client.api._url("/build/prune"), params={"all": "1"}).raise_for_status()
        finally:
            client.close()

    def close(self) -> None:
        self._stack.close()
