"""Running tasks of the test workflow on a control plane of its own, with the SDK in a process of its own."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flytebuild import engine
from flytebuild.config import Config
from flytebuild.runtime import client
from flytebuild.runtime.addresses import LABEL
from flytebuild.runtime.home import make
from tests import plain
from tests.command import Fork
from tests.conftest import Machine
from tests.runs import ENDED, tell_failures

WORKFLOW = Path(__file__).with_name("workflow")


@dataclass
class Driver:
    """A control plane of its own, and the way to run a task of the test workflow on it."""

    config: Config
    plane: client.ControlPlane

    @property
    def environ(self) -> dict[str, str]:
        """An environment in which `flytebuild` uses this control plane."""
        return {
            **os.environ,
            "FLYTEBUILD_HOME": str(self.config.home),
            "FLYTEBUILD_PORT": str(self.config.port),
            "FLYTEBUILD_MIRRORS": ",".join(f"{name}={to}" for name, to in self.config.mirrors.items()),
        }

    def begin(self, task: str, inputs: object = None, **context: object) -> tuple[Fork, str]:
        """Start a run with options of `flyte.with_runcontext`; the process that waits for it, and the run's name."""
        environ = {**os.environ, **client.flyte_environment(self.plane), "COLUMNS": "200"}
        process = Fork(WORKFLOW / "drive.py", [task, json.dumps(inputs or {}), json.dumps(context)], WORKFLOW, environ)
        line = process.out.readline()
        assert line.startswith("{"), f"{line}\n{process.end()}"
        return process, str(json.loads(line)["run"])

    def end(self, process: Fork) -> dict[str, Any]:
        """What the SDK says at the end."""
        done = process.end()
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout.splitlines()[-1]))

    def run(self, task: str, inputs: object = None, **context: object) -> tuple[dict[str, Any], dict[str, Any]]:
        """Run to the end: what the SDK says, and what the control plane says."""
        process, name = self.begin(task, inputs, **context)
        said = self.end(process)
        document = self.document(name)
        tell_failures(document)
        return said, document

    def document(self, name: str) -> dict[str, Any]:
        return dict(plain.get(f"{self.plane.endpoint}/api/runs/{name}").json())

    def until_running(self, name: str, task: str) -> dict[str, Any]:
        """Follow a run's page until a task runs in its container."""
        for document in self._documents(name):
            for action in document["actions"]:
                if action["task"] == task and action["phase"] == "RUNNING":
                    return dict(action)
        raise AssertionError(f"{task} never ran: {document}")

    def until_ended(self, name: str) -> dict[str, Any]:
        """Follow a run's page until it has ended."""
        for document in self._documents(name):
            if document["phase"] in ENDED:
                return document
        raise AssertionError(f"run {name} never ended: {document}")

    def _documents(self, name: str) -> Iterator[dict[str, Any]]:
        """A run as it is, again and again for two minutes."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            yield self.document(name)
            time.sleep(0.05)

    def flyte(self, *arguments: str) -> str:
        """Run the `flyte` command."""
        environ = {**os.environ, **client.flyte_environment(self.plane), "COLUMNS": "300"}
        done = Fork(Path(sys.executable).with_name("flyte"), arguments, Path.cwd(), environ).end()
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def configured(machine: Machine, home: Path, **settings: Any) -> Config:
    """Settings of a control plane of its own, with a folder and a port that nobody has."""
    bundle = os.environ.get("SSL_CERT_FILE")
    trusted = Path(bundle) if bundle else None
    return Config(port=free_port(), home=home, mirrors=machine.mirrors, ca_bundle=trusted, **settings)


def containers(home: Path) -> list[str]:
    """The containers of a control plane."""
    connection = engine.connect()
    try:
        found = connection.api.containers(all=True, filters={"label": f"{LABEL}.home={make(home)}"})
    finally:
        connection.close()
    return [str(item["Id"]) for item in found]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
