"""The wire protocol as every minor of flyte speaks it, on the host and in what would be containers.

The example runs as it is, with the SDK's own `a0`, against the real control plane; only its executor starts processes.
`make test-contract` runs every minor, the ordinary tests the oldest and the newest, alone and mixed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from flytebuild.runtime import client, flyte_config
from flytebuild.runtime.app import assemble
from flytebuild.runtime.credentials import load_or_create
from flytebuild.runtime.listening import listen
from flytebuild.runtime.passes import Passes
from flytebuild.runtime.server import serving
from tests.contract.process_executor import ProcessExecutor
from tests.contract.venvs import MINORS, python_of
from tests.engine.conftest import EXAMPLE
from tests.runs import ENDED
from tests.runtime.conftest import SITE

HERE = Path(__file__).parent
OLDEST, NEWEST = MINORS[0], MINORS[-1]
PATIENCE = 240.0
"""Seconds for whatever is waited for: on a busy machine an answer that takes a moment may take long."""
ACTIONS, QUEUE = "1", "0"
"""What tells an SDK which of the two protocols between a task and the control plane it speaks."""


@dataclass(frozen=True)
class Pair:
    """The minor on the host, the one in containers, and the protocol of the latter."""

    host: str
    container: str
    protocol: str = ACTIONS

    def __str__(self) -> str:
        return f"{self.host}-runs-{self.container}{'-by-queue' if self.protocol == QUEUE else ''}"


ORDINARY = [Pair(OLDEST, OLDEST), Pair(NEWEST, OLDEST), Pair(NEWEST, NEWEST, QUEUE)]
ALL = [
    *ORDINARY,
    *(Pair(minor, minor) for minor in MINORS[1:]),
    Pair(OLDEST, NEWEST),
    *(Pair(minor, minor, QUEUE) for minor in MINORS[:-1]),
]
PAIRS = ALL if os.environ.get("FLYTE_MINORS") == "all" else ORDINARY


@contextlib.contextmanager
def serving_processes(home: Path, python: Path, variables: dict[str, str]) -> Iterator[tuple[str, ProcessExecutor]]:
    """The address of a control plane whose containers are processes, and what starts them."""
    executor = ProcessExecutor(python, home / "work", variables)
    ready, stop = threading.Event(), threading.Event()
    address = []

    async def main() -> None:
        credentials = load_or_create(home)
        with listen(0, None) as sockets:
            port = sockets[0].getsockname()[1]
            site = replace(SITE, port=port, passes=Passes(credentials.pass_secret))
            async with serving(assemble(home, site, credentials, executor), sockets):
                address.append(f"http://127.0.0.1:{port}")
                ready.set()
                await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        yield address[0], executor
    finally:
        stop.set()
        thread.join(PATIENCE)


# An SDK gives its controller's thread five seconds to start, and 2.3 gives a call up after ten tries: on a machine that
# is busy enough neither will do. As with tests on the engine, the closing line counts second tries.
@pytest.mark.flaky(reruns=1)
@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_the_example(pair: Pair, tmp_path: Path) -> None:
    host, container = python_of(pair.host), python_of(pair.container)
    home = tmp_path / "home"
    home.mkdir()
    variables = {"_U_USE_ACTIONS": pair.protocol}
    with serving_processes(home, container, variables) as (endpoint, executor), httpx.Client(timeout=PATIENCE) as http:
        plane = client.ControlPlane(endpoint, os.getpid(), home)
        flyte_config.write(endpoint, plane.config_file)
        done = subprocess.run(
            [str(host), str(HERE / "drive.py")],
            cwd=EXAMPLE,
            env={
                "PATH": f"{host.parent}:{os.defpath}",
                "HOME": str(tmp_path),
                "PYTHONPATH": str(HERE / "builder"),
                "PYTHONDONTWRITEBYTECODE": "1",
                **client.flyte_environment(plane),
                "FLYTE_IMAGE_BUILDER": "contract",
                "FLYTE_DISABLE_TELEMETRY": "1",
            },
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        runs = http.get(f"{endpoint}/api/runs").json()
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{runs}"
        said = json.loads(done.stdout.splitlines()[-1])
        document = http.get(f"{endpoint}/api/runs/{said['run']}").json()
        assert http.get(said["url"]).status_code == 200
    assert said.pop("version").startswith(f"{pair.host}.")
    assert said == {
        "run": document["run"],
        "url": document["url"],
        "phase": "succeeded",
        "outputs": [["AAGGTTCCAA", "AAGGTTCCAA"]],
        "listed": True,
        "actions": ["fold_env.run_fold", "msa_env.run_msa", "multi_env.main"],
    }
    assert document["phase"] in ENDED
    assert len(executor.orders) == 3
