"""Workspaces for tests on the real engine: a copy of the example, a registry path and a data folder of their own."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from tests import plain
from tests.command import command
from tests.conftest import Machine
from tests.engine.building import Builds, in_registry, output_of
from tests.engine.solving import Solver, connected
from tests.schemas import validated

EXAMPLE = Path(__file__).parents[2] / "examples" / "alphafold2"
BIN = Path(sys.executable).parent
SIGNALS = pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
"""What ends a command, and the exit code that it then has."""
_SHELL = "dev.flytebuild.shell"
"""The label of a container that is no run's; it says the image."""


@dataclass
class Workspace:
    """A folder to run commands in, with an environment in which they find the engine and nothing of another test."""

    folder: Path
    environ: dict[str, str]
    registry: str

    def run(self, *command: str, timeout: float = 240, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the virtual environment to its end, from its start on."""
        return subprocess.run(
            [str(BIN / command[0]), *command[1:]],
            cwd=self.folder,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def flytebuild(self, *arguments: str, code: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run `flytebuild` and check how it exits, and that a document that it prints is what its schema says."""
        done = command(arguments, self.folder, {**self.environ, **environ})
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        if done.stdout.startswith('{\n  "schema"'):
            validated(done.stdout)
        return done

    def plan(self, *arguments: str, **environ: str) -> dict[str, Any]:
        """The plan's document."""
        document: dict[str, Any] = json.loads(self.flytebuild("plan", "--json", *arguments, **environ).stdout)
        return document

    def statuses(self, *arguments: str) -> dict[str, str]:
        """Each environment's image status."""
        images = self.plan(*arguments)["images"]
        return {name: image["status"] for image in images for name in image["environments"]}

    def write(self, files: Mapping[str, str]) -> None:
        """Write source files into the folder."""
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


def in_image(image: str, *command: str) -> str:
    """What a command prints in a container of an image."""
    client = docker.from_env()
    try:
        return output_of(client, image, command)
    finally:
        client.close()


def shells(images: str) -> list[str]:
    """The containers of `flytebuild shell` and its like that are there, of images whose references begin so."""
    client = docker.from_env()
    try:
        found = client.containers.list(all=True, filters={"label": _SHELL}, ignore_removed=True)
        return [str(item.name) for item in found if item.labels[_SHELL].startswith(images)]
    finally:
        client.close()


def processes_with(words: str) -> list[int]:
    """The processes of this machine, those of an engine's steps included, whose command line has these words."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if words.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def repository_tags(registry: str, name: str = "flyte") -> set[str]:
    """The tags of images, but for those that lead to the last image of an environment."""
    host, _, path = registry.partition("/")
    answer = plain.get(f"http://{host}/v2/{path}/{name}/tags/list")
    tags = answer.json().get("tags") if answer.status_code == 200 else None
    return {tag for tag in tags or () if not tag.startswith("env-")}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def workspace_in(folder: Path, machine: Machine, registry: str) -> Iterator[Workspace]:
    """A workspace in a folder of its own; its control plane, if a test starts one, is stopped at the end."""
    home = folder.parent / "home"
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("FLYTE", "UV_", "XDG_"))},
        "DOCKER_HOST": machine.docker_host,
        "FLYTEBUILD_REGISTRY": registry,
        "FLYTEBUILD_MIRRORS": ",".join(f"{name}={to}" for name, to in machine.mirrors.items()),
        "FLYTEBUILD_HOME": str(home),
        # Tests change what registries and engines have behind our back, and plan again in the same moment.
        "FLYTEBUILD_FRESH": "0",
        "FLYTEBUILD_FRESH_FOR_RUNS": "0",
        "FLYTEBUILD_PORT": str(free_port()),
        "FLYTE_DISABLE_TELEMETRY": "1",
        "HOME": str(folder.parent),
    }
    made = Workspace(folder, environ, registry)
    yield made
    if home.exists():
        made.flytebuild("down")


@pytest.fixture
def workspace(tmp_path: Path, machine: Machine, registry_prefix: str) -> Iterator[Workspace]:
    """The AlphaFold2 example, copied."""
    folder = tmp_path / "alphafold2"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", ".flyte"))
    with workspace_in(folder, machine, registry_prefix) as made:
        yield made


@pytest.fixture(scope="module")
def solver(machine: Machine) -> Iterator[Solver]:
    """The engine's BuildKit."""
    with connected(machine) as made:
        yield made


@pytest.fixture(scope="module")
def builds(machine: Machine) -> Iterator[Builds]:
    """Images of the SDK, many in one build."""
    with in_registry(machine) as made:
        yield made
