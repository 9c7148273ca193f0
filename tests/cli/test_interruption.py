"""Ctrl-C at a real terminal while a run is followed that does not end by itself."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flyteidl2.common.identifier_pb2 import ProjectIdentifier
from flyteidl2.common.run_pb2 import OffloadedInputData
from flyteidl2.workflow import run_service_pb2 as pb
from flyteidl2.workflow.run_service_connect import RunServiceClientSync

from flytebuild.cli.interruption import wants_to_leave
from tests import plain
from tests.runtime import samples
from tests.runtime.conftest import ScriptedExecutor, served

FOLLOW = """
import sys
from types import SimpleNamespace

import click
import flyte
from flyte.remote import Run

from flytebuild.authoring.run import StartedRun
from flytebuild.cli import main
from flytebuild.cli.follow import follow_run

endpoint, name = sys.argv[1:]
flyte.init(endpoint=endpoint, insecure=True, org="local", project="flytebuild", domain="development")
started = StartedRun(Run.get(name))

def follow():
    follow_run(SimpleNamespace(endpoint=endpoint), started, as_json=False)


main.cli.resolve_command = lambda *_: ("follow", click.Command("follow", callback=follow), [])
main.main(["follow"])
"""


START = """
import asyncio
import os
import signal
import sys
from pathlib import Path

import flyte
from flyte._initialize import get_client

from flytebuild.authoring.run import Program, start

endpoint, name, interrupted = sys.argv[1:]
env = flyte.TaskEnvironment("env", image="busybox:1")


@env.task
def work() -> None: ...


here = dict(org="local", project="flytebuild", domain="development", root_dir=Path.cwd())
flyte.init(endpoint=endpoint, insecure=True, **here)
create_run = get_client().run_service.create_run

async def create_and_interrupt(request):
    try:
        return await create_run(request)
    finally:
        if interrupted == "yes":
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(600)


get_client().run_service.create_run = create_and_interrupt
start(Program.of(work, Path(__file__)), {}, name)
"""


def started(folder: Path, endpoint: str, name: str, *, interrupted: bool) -> subprocess.CompletedProcess[str]:
    """A process that starts a run, and is interrupted where the run is there and the process does not know yet."""
    (folder / "main.py").write_text(START)
    return subprocess.run(
        [sys.executable, "main.py", endpoint, name, "yes" if interrupted else "no"],
        cwd=folder,
        env={**os.environ, "HOME": str(folder), "FLYTE_DISABLE_TELEMETRY": "1"},
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    with served(tmp_path, ScriptedExecutor()) as address:
        yield address


def begun(endpoint: str) -> str:
    """A run whose container runs until it is removed."""
    request = pb.CreateRunRequest(
        task_spec=samples.task_spec(),
        project_id=ProjectIdentifier(organization="local", domain="development", name="flytebuild"),
        offloaded_input_data=OffloadedInputData(uri="s3://flytebuild/inputs/x"),
    )
    return str(RunServiceClientSync(endpoint).create_run(request).run.action.id.run.name)


def phase(endpoint: str, run: str) -> str:
    return str(plain.get(f"{endpoint}/api/runs/{run}").json()["phase"])


class Terminal:
    """Our side of a terminal at which a process runs."""

    def __init__(self, ours: int) -> None:
        self._ours = ours
        self.seen = ""

    def until(self, words: str) -> None:
        """Read until the words have come."""
        while words not in self.seen:
            assert select.select([self._ours], [], [], 60)[0], f"`{words}` does not come: {self.seen}"
            try:
                piece = os.read(self._ours, 1000).decode()
            except OSError:  # Nobody is at the other side any more.
                piece = ""
            assert piece, f"`{words}` never came: {self.seen}"
            self.seen += piece

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())


@contextmanager
def following(endpoint: str, run: str) -> Iterator[tuple[Terminal, subprocess.Popen[bytes]]]:
    """A process that follows a run at a terminal, once the run's task runs."""
    ours, theirs = pty.openpty()
    # A session of its own, whose terminal this is: only then does the key become a signal.
    become = "import os, fcntl, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    become += "os.execv(sys.executable, [sys.executable, '-c', *sys.argv[1:]])"
    process = subprocess.Popen(
        [sys.executable, "-c", become, FOLLOW, endpoint, run],
        env={**os.environ, "NO_COLOR": "1", "FLYTE_DISABLE_TELEMETRY": "1"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        terminal = Terminal(ours)
        terminal.until("running    env.work")
        yield terminal, process
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.mark.parametrize(
    ("keys", "is_left"),
    [(["y\n"], True), (["\n"], False), (["\x03"], False), (["\x04"], False)],
    ids=["yes", "enter", "ctrl-c", "ctrl-d"],
)
def test_one_question(endpoint: str, keys: list[str], is_left: bool) -> None:
    run = begun(endpoint)
    with following(endpoint, run) as (terminal, process):
        terminal.type("\x03")
        terminal.until("running? Otherwise it is aborted [y/N]")
        assert phase(endpoint, run) == "RUNNING", "asking decides nothing"
        for key in keys:
            terminal.type(key)
        terminal.until(f"Run {run} goes on: {endpoint}" if is_left else f"Run {run} aborted")
        assert process.wait(30) == 130
        assert phase(endpoint, run) == ("RUNNING" if is_left else "ABORTED")
        assert len(re.findall(r"\[y/N\]", terminal.seen)) == 1


def test_a_second_interruption_before_the_question_is_seen_answers_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As from `timeout`, which passes on to its child what the terminal has sent there already."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> int:
            if "Leave run" in text:
                raise KeyboardInterrupt
            return super().write(text)

    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert not wants_to_leave("r1")


def test_a_run_that_is_interrupted_while_it_starts_is_aborted(endpoint: str, tmp_path: Path) -> None:
    done = started(tmp_path, endpoint, "early", interrupted=True)
    assert "KeyboardInterrupt" in done.stderr
    assert phase(endpoint, "early") == "ABORTED"


def test_a_run_that_was_there_before_is_left_alone(endpoint: str, tmp_path: Path) -> None:
    assert started(tmp_path, endpoint, "taken", interrupted=False).returncode == 0
    assert "KeyboardInterrupt" in started(tmp_path, endpoint, "taken", interrupted=True).stderr
    assert phase(endpoint, "taken") in ("QUEUED", "RUNNING")


def test_sigterm_asks_nobody(endpoint: str) -> None:
    run = begun(endpoint)
    with following(endpoint, run) as (terminal, process):
        process.send_signal(signal.SIGTERM)
        terminal.until(f"Run {run} aborted")
        assert process.wait(30) == 143
        assert phase(endpoint, run) == "ABORTED"
        assert "[y/N]" not in terminal.seen
