"""A control plane with a long past: `python -m benchmarks.runtime.history --help`.

Fills a journal with runs that have ended, starts a control plane on it in a process of its own, without containers,
and measures its start, its answers and its memory.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

from flytebuild.runtime.actions import Ledger
from flytebuild.runtime.app import assemble
from flytebuild.runtime.container import Order, Site
from flytebuild.runtime.credentials import load_or_create
from flytebuild.runtime.executor import Started, StartError
from flytebuild.runtime.journal import FILE_NAME, Database
from flytebuild.runtime.listening import listen
from flytebuild.runtime.model import Action, ActionKey, Kind, Phase, Run
from flytebuild.runtime.passes import Passes
from flytebuild.runtime.server import serving

IMAGE_CACHE = "x" * 2000
"""In place of the images that a real task's arguments list."""


class NoEngine:
    """The executor of a control plane that executes nothing."""

    async def start(self, order: Order, *_: object) -> Started:
        """Refuse."""
        raise StartError("EngineUnavailable", "there is none")

    async def wait(self, started: Started) -> object:
        """Never asked for."""
        raise NotImplementedError

    async def remove(self, started: Started) -> None:
        """Never asked for."""


def fill(home: Path, runs: int, actions: int) -> float:
    """Record runs of so many actions each, as they would have been; the seconds that it took."""
    from flyteidl2.task.run_pb2 import RunSpec
    from flyteidl2.task.task_definition_pb2 import TaskSpec

    clock = [datetime(2026, 1, 1, tzinfo=timezone.utc)]

    def tick() -> datetime:
        clock[0] += timedelta(milliseconds=250)
        return clock[0]

    begun = time.monotonic()
    database = Database(home / FILE_NAME)
    ledger = Ledger(database, tick, archive=database)
    for number in range(runs):
        name = f"run{number}"
        run = Run(name, "local", "flytebuild", "development", f"s3://flytebuild/runs/{name}", tick(), RunSpec())
        for index in range(actions):
            spec = TaskSpec(short_name=f"task{index % 5}")
            spec.environment.name = "env"
            spec.task_template.id.name = f"env.task{index % 5}"
            spec.task_template.container.image = "image:1"
            spec.task_template.container.args.extend(["a0", "--run", name, "--image-cache", IMAGE_CACHE])
            key = ActionKey(name, f"c{index}" if index else "a0")
            base = f"s3://flytebuild/runs/{name}"
            action = Action(key, "a0" if index else None, Kind.TASK, f"{base}/i.pb", base, tick(), task=spec)
            if index:
                ledger.add(action)
            else:
                ledger.create_run(run, action)
            ledger.begin_attempt(key, "image:1")
            ledger.advance(key, Phase.INITIALIZING)
            ledger.advance(key, Phase.RUNNING, container="f" * 64, image_id="sha256:" + "0" * 64)
            if index:
                ledger.finish(key, Phase.SUCCEEDED, outputs=f"{base}/{key.name}/1")
        ledger.finish(ActionKey(name, "a0"), Phase.SUCCEEDED, outputs=f"{base}/a0/1")
    database.close()
    return time.monotonic() - begun


async def serve(home: Path) -> None:
    """Serve the folder on any port, print it with the seconds of the start, and end with the standard input."""
    credentials = load_or_create(home)
    with listen(0, None) as sockets:
        port = sockets[0].getsockname()[1]
        begun = time.monotonic()
        site = Site(home="bench", port=port, passes=Passes(credentials.pass_secret), cpus=2)
        plane = assemble(home, site, credentials, NoEngine())  # type: ignore[arg-type]
        taken = time.monotonic() - begun
        async with serving(plane, sockets):
            print(json.dumps({"port": port, "seconds": taken}), flush=True)
            await asyncio.to_thread(sys.stdin.read)


def best(act: Callable[[], object], repeat: int) -> tuple[float, float]:
    """The milliseconds of the first call, and of the best of the others."""
    taken = []
    for _ in range(repeat + 1):
        begun = time.perf_counter()
        act()
        taken.append((time.perf_counter() - begun) * 1000)
    return taken[0], min(taken[1:])


def memory(pid: int) -> float:
    """The largest resident memory that a process had, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise LookupError(pid)


def measure(home: Path, runs: int, actions: int, repeat: int) -> list[tuple[str, float, float]]:
    """Name, first and best of the others, in milliseconds; memory in MiB."""
    from flyteidl2.common.identifier_pb2 import ProjectIdentifier, RunIdentifier
    from flyteidl2.workflow import run_service_pb2 as pb
    from flyteidl2.workflow.run_service_connect import RunServiceClientSync

    rows = []
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.runtime.history", "--serve", str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with contextlib.ExitStack() as stack:
        stack.callback(process.wait, 60)
        stack.callback(process.stdin.close)  # type: ignore[union-attr]
        said = json.loads(process.stdout.readline())  # type: ignore[union-attr]
        rows.append(("start: the past is read", said["seconds"] * 1000, said["seconds"] * 1000))
        server = f"http://127.0.0.1:{said['port']}"
        client = RunServiceClientSync(server)
        scope = ProjectIdentifier(name="flytebuild", domain="development", organization="local")

        def identifier(number: int) -> RunIdentifier:
            return RunIdentifier(org="local", project="flytebuild", domain="development", name=f"run{number}")

        def get(path: str) -> None:
            with urllib.request.urlopen(f"{server}{path}", timeout=30) as answer:
                answer.read()

        def list_actions(number: int) -> None:
            request = pb.ListActionsRequest(run_id=identifier(number))
            request.request.limit = actions
            assert len(client.list_actions(request).actions) == actions

        listing = pb.ListRunsRequest(project_id=scope)
        listing.request.limit = runs
        place = "/v2/domain/development/project/flytebuild/runs"
        rows += [
            (name, *best(act, repeat))
            for name, act in (
                ("ListRuns", lambda: client.list_runs(listing)),
                ("ListActions of one run", lambda: list_actions(runs // 2)),
                ("the page with all runs", lambda: get("/")),
                ("the page of one run", lambda: get(f"{place}/run{runs // 3}")),
                ("its document", lambda: get(f"/api/runs/run{runs // 3}")),
            )
        ]
        for number in range(runs):
            list_actions(number)
        rows.append(("MiB of memory, when all runs have been listed", memory(process.pid), memory(process.pid)))
    return rows


def main() -> None:
    """Measure, or serve for the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--actions", type=int, default=100, help="of each run")
    parser.add_argument("--repeat", type=int, default=10)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve))
        return
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        taken = fill(home, options.runs, options.actions)
        count = options.runs * options.actions
        size = os.path.getsize(home / FILE_NAME) / (1 << 20)
        print(f"{count} actions of {options.runs} runs recorded in {taken:.1f} s, {size:.1f} MiB")
        print(f"{'':48} {'first':>9} {'best':>9}")
        for name, first, other in measure(home, options.runs, options.actions, options.repeat):
            print(f"{name:48} {first:9.1f} {other:9.1f}")


if __name__ == "__main__":
    main()
