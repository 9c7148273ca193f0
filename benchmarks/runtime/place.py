"""Where runs are measured: an engine, a control plane of its own, and runs that are created again and again."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import httpx
from msgspec.structs import replace

from flytebuild import config, engine
from flytebuild.runtime import client
from flytebuild.runtime.addresses import LABEL
from flytebuild.runtime.home import make
from flytebuild.runtime.reuse import WARM_LABEL

WORKFLOW = Path(__file__).with_name("workflow")
EXAMPLE = Path(__file__).parents[2] / "examples/alphafold2"
_RENEWAL_SECONDS = 1.5
"""When a run has ended, its warm containers have been replaced after so long, which are then starting."""

_POLL_SECONDS = 0.05
_FIRST_TERMINAL = 5
"""The smallest number of a phase that nothing follows, `SUCCEEDED`."""


@dataclass(frozen=True)
class Measured:
    """A run: the seconds from the call of CreateRun until it was told that it had succeeded, and its document.

    `cpu` is what `Place.cpu` says at its end.
    """

    seconds: float
    cpu: float
    document: dict[str, Any]

    @property
    def output(self) -> Any:
        """The value of its first output."""
        return self.document["outputs"]["o0"]


class Place:
    """A control plane and its engine; what is put on the `stack` ends with them."""

    def __init__(self, plane: client.ControlPlane, api: docker.APIClient, stack: contextlib.ExitStack) -> None:
        from flyteidl2.workflow.run_service_connect import RunServiceClientSync

        self.plane = plane
        self.api = api
        self.stack = stack
        self.service = RunServiceClientSync(plane.endpoint)
        self.identifier = make(plane.home)

    def prepare(self, folder: Path, task: str, *inputs: str) -> Any:
        """Run a task once, its images built: what creates such a run again."""
        from flyteidl2.common.identifier_pb2 import ProjectIdentifier
        from flyteidl2.workflow import run_service_pb2 as pb

        program = str(Path(sys.executable).with_name("flytebuild"))
        command = [program, "run", "--warm", "--json", "main.py", task, *inputs]
        environ = {**os.environ, "FLYTEBUILD_HOME": str(self.plane.home), "FLYTEBUILD_PORT": self.port}
        done = subprocess.run(command, cwd=folder, env=environ, stdout=subprocess.PIPE, text=True, check=True)
        document = json.loads(done.stdout)
        request = pb.GetRunDetailsRequest()
        request.run_id.org, request.run_id.name = "local", document["run"]
        request.run_id.project, request.run_id.domain = document["project"], document["domain"]
        details = self.service.get_run_details(request).details
        asked = pb.GetActionDataURIsRequest(action_id=details.action.id)
        uri = self.service.get_action_data_u_r_is(asked).inputs_uri
        scope = ProjectIdentifier(organization="local", name=request.run_id.project, domain=request.run_id.domain)
        again = pb.CreateRunRequest(project_id=scope, task_spec=details.action.task, run_spec=details.run_spec)
        again.offloaded_input_data.uri = uri
        again.offloaded_input_data.inputs_hash = "benchmark"
        return again

    @property
    def port(self) -> str:
        """The control plane's port."""
        return self.plane.endpoint.rpartition(":")[2]

    def run(self, request: Any, *, warm: bool) -> Measured:
        """Create a run and wait for its end. Raises RuntimeError when it does not succeed."""
        from flyteidl2.workflow import run_service_pb2 as pb

        self.settle()
        asked = pb.CreateRunRequest()
        asked.CopyFrom(request)
        asked.run_spec.labels.values[WARM_LABEL] = "true" if warm else "false"
        begun = time.perf_counter()
        created = self.service.create_run(asked).run.action.id
        for answer in self.service.watch_action_details(pb.WatchActionDetailsRequest(action_id=created)):
            if answer.details.status.phase >= _FIRST_TERMINAL:
                break
        seconds = time.perf_counter() - begun
        # Before the containers of the run are gone.
        cpu = self.cpu()
        document = httpx.get(f"{self.plane.endpoint}/api/runs/{created.run.name}", trust_env=False).json()
        if document["phase"] != "SUCCEEDED":
            raise RuntimeError(json.dumps(document, indent=2))
        return Measured(seconds, cpu, document)

    def settle(self) -> None:
        """Wait until the containers are ready that wait for the next run."""
        time.sleep(_RENEWAL_SECONDS)
        label = f"{LABEL}.home={self.identifier}"
        is_ready = False
        while not is_ready:
            with contextlib.suppress(docker.errors.NotFound):
                found = self.api.containers(filters={"label": [label, f"{LABEL}.worker"]})
                is_ready = all(b'"ready"' in self.api.logs(item["Id"], stderr=False) for item in found)
            time.sleep(_POLL_SECONDS)

    def cpu(self) -> float:
        """The seconds of processor time that the control plane and its containers, those that run, have had."""
        fields = Path(f"/proc/{self.plane.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        ours = sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
        found = self.api.containers(filters={"label": f"{LABEL}.home={self.identifier}"})
        stats = [self.api.stats(item["Id"], stream=False, one_shot=True) for item in found]
        return ours + sum(int(item["cpu_stats"]["cpu_usage"]["total_usage"]) for item in stats) / 1e9

    def docker_run(self, image: str, *command: str) -> float:
        """The seconds that `docker run` takes."""
        begun = time.perf_counter()
        subprocess.run(["docker", "run", "--rm", image, *command], check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - begun

    def gateway(self) -> str:
        """The address by which containers reach this machine."""
        return str(self.api.inspect_network("bridge")["IPAM"]["Config"][0]["Gateway"])


@contextlib.contextmanager
def control_plane(home: Path) -> Iterator[Place]:
    """A control plane of its own on the engine that the environment names, gone at the end with all that it had."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    settings = replace(config.load(Path.cwd()), home=home, port=port)
    connection = engine.connect()
    try:
        with contextlib.ExitStack() as stack:
            yield Place(client.ensure(settings), connection.api, stack)
    finally:
        client.stop(settings)
        connection.close()
