"""Starting and stopping the real process on a real engine: whose it is, what it was started with, how it ends."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flyteidl2.common.identifier_pb2 import ActionIdentifier, ProjectIdentifier
from flyteidl2.common.run_pb2 import OffloadedInputData
from flyteidl2.workflow import run_service_pb2 as pb
from flyteidl2.workflow.run_service_connect import RunServiceClientSync
from msgspec.structs import replace

from flytebuild.config import Config
from flytebuild.errors import ControlPlaneError
from flytebuild.runtime import client, health, home, process
from flytebuild.runtime.home import make
from flytebuild.runtime.model import Phase
from tests import plain
from tests.command import Fork
from tests.conftest import Machine
from tests.runtime import samples
from tests.schemas import validated

pytestmark = pytest.mark.engine

BASE = "ghcr.io/flyteorg/flyte:py3.11-v2.12.1"
BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def config(machine: Machine, tmp_path: Path) -> Iterator[Config]:
    """Settings of a control plane of its own, which is gone after the test."""
    made = Config(home=tmp_path / "home", port=free_port(), mirrors=machine.mirrors)
    yield made
    if made.home.is_dir():
        client.stop(made)


class Sleeper:
    """A run whose container sleeps until the run is aborted."""

    def __init__(self, endpoint: str) -> None:
        self._runs = RunServiceClientSync(endpoint)
        spec = samples.task_spec()
        del spec.task_template.container.args[:]
        spec.task_template.container.args.extend(["sleep", "300"])
        spec.task_template.container.image = BASE
        request = pb.CreateRunRequest(
            task_spec=spec,
            project_id=ProjectIdentifier(organization="local", domain="development", name="flytebuild"),
            offloaded_input_data=OffloadedInputData(uri="s3://flytebuild/inputs/x"),
        )
        self.run = self._runs.create_run(request).run.action.id.run

    def abort(self) -> None:
        self._runs.abort_run(pb.AbortRunRequest(run_id=self.run))
        action = ActionIdentifier(run=self.run, name="a0")
        for answer in self._runs.watch_action_details(pb.WatchActionDetailsRequest(action_id=action)):
            if Phase(answer.details.status.phase).is_terminal:
                return


def command(config: Config, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `flytebuild` with these settings."""
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("FLYTEBUILD_")},
        "FLYTEBUILD_HOME": str(config.home),
        "FLYTEBUILD_PORT": str(config.port),
        "FLYTEBUILD_MIRRORS": ",".join(f"{name}={to}" for name, to in config.mirrors.items()),
    }
    return Fork("flytebuild", arguments, folder or config.home.parent, environ).end()


def test_the_health_document_tells_what_it_was_started_with(config: Config) -> None:
    plane = client.ensure(config)
    document = plain.get(f"{plane.endpoint}/healthz").json()
    assert document["pid"] == plane.pid == (home.holder(config.home) or pytest.fail("nobody holds the folder")).pid
    assert document["runs_in_progress"] == 0
    assert document["fingerprint"]["engine"] == os.environ["DOCKER_HOST"]
    assert document["fingerprint"]["mirrors"] == dict(config.mirrors)
    assert document["fingerprint"]["python"] == f"{os.path.realpath(sys.prefix)} ({os.path.realpath(sys.executable)})"
    assert client.ensure(config) == plane


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda config: replace(config, mirrors={**config.mirrors, "quay.io": "mirror"}), "quay.io=mirror"),
        (lambda config: replace(config, port=free_port()), "instead of"),
    ],
    ids=["mirrors", "port"],
)
def test_other_settings_start_an_idle_one_anew(config: Config, change: Callable[[Config], Config], words: str) -> None:
    first, other = client.ensure(config), change(config)
    told: list[str] = []
    second = client.ensure(other, told.append)
    assert second.pid != first.pid
    assert client.find(config) == second, "a folder has one control plane, at whichever port"
    (sentence,) = told
    assert sentence.startswith("The control plane is started anew: it ran with ")
    assert words in sentence
    assert second.endpoint in second.config_file.read_text().replace("dns:///", "http://")


def test_other_certificates_start_an_idle_one_anew(config: Config, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(b"one")
    config = replace(config, ca_bundle=bundle)
    first = client.ensure(config)
    bundle.write_bytes(b"two")
    told: list[str] = []
    assert client.ensure(config, told.append).pid != first.pid
    assert told == ["The control plane is started anew: it ran with a CA bundle that has changed since"]


def test_other_settings_leave_a_busy_one_alone(config: Config) -> None:
    plane = client.ensure(config)
    sleeper = Sleeper(plane.endpoint)
    other = replace(config, mirrors={**config.mirrors, "quay.io": "mirror"})
    done = command(other, "up", "--no-config")
    assert done.returncode == 69
    assert "has runs in progress and was started with mirrors " in done.stderr
    assert "hint: wait until they have ended, or end them and it with `flytebuild down`" in done.stderr
    assert "Traceback" not in done.stderr
    assert client.ensure(config) == plane, "with its own settings it can be used all the time"
    sleeper.abort()
    done = command(other, "up", "--no-config")
    assert done.returncode == 0, done.stderr
    assert "started anew: it ran with mirrors" in done.stderr
    assert "The control plane is up" in done.stderr


def test_nothing_in_the_current_folder_is_imported(config: Config, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    (folder / "flyte").mkdir(parents=True)
    for name in ("http.py", "typing.py", "logging.py", "uvicorn.py", "flyte/__init__.py"):
        (folder / name).write_text("raise SystemExit('a file of the user was imported')\n")
    done = command(config, "up", "--no-config", folder=folder)
    assert done.returncode == 0, done.stderr
    assert "was imported" not in (config.home / process.LOG_FILE).read_text()


def test_the_script_is_alone_in_its_folder() -> None:
    """Python has that folder first on its path for a moment."""
    script = Path(process.command(Config())[1])
    assert [item.name for item in script.parent.iterdir()] == [script.name]


def test_who_reads_from_the_command_is_not_kept_waiting(config: Config) -> None:
    """What the command inherited is not handed on to the process that outlives it."""
    read, write = os.pipe()
    try:
        environ = {**os.environ, "FLYTEBUILD_HOME": str(config.home), "FLYTEBUILD_PORT": str(config.port)}
        with subprocess.Popen(
            [str(BIN / "flytebuild"), "up", "--no-config"], env=environ, pass_fds=[write], stderr=subprocess.DEVNULL
        ) as up:
            os.close(write)
            write = -1
            assert up.wait(100) == 0
        os.set_blocking(read, False)
        assert os.read(read, 1) == b"", "the end of the pipe, and no BlockingIOError"
    finally:
        os.close(read)
        if write >= 0:
            os.close(write)


def test_down(config: Config) -> None:
    done = command(config, "down")
    assert (done.returncode, done.stderr) == (0, "No control plane is running\n")
    client.ensure(config)
    done = command(replace(config, port=free_port()), "down", "--json")
    assert (done.returncode, done.stderr) == (0, "The control plane is stopped\n"), "whatever the port is called now"
    assert validated(done.stdout)["result"] == "stopped"
    done = command(config, "down")
    assert (done.returncode, done.stderr) == (0, "No control plane is running\n")


def test_a_file_that_comes_before_ours_is_told(config: Config, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    assert "note:" not in command(config, "up", folder=folder).stderr
    (folder / "config.yaml").touch()
    again = command(config, "up", "--json", folder=folder)
    assert "note: Flyte's SDK reads the `config.yaml` in this folder instead" in again.stderr
    assert validated(again.stdout) == validated(command(config, "status", "--json").stdout)


def test_one_that_does_not_answer(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    plane = client.ensure(config)
    os.kill(plane.pid, signal.SIGSTOP)
    done = command(config, "status")
    assert done.returncode == 1
    assert f"The control plane (process {plane.pid}) does not answer; `flytebuild down` ends it" in done.stdout
    with monkeypatch.context() as patch:
        patch.setattr(health, "_SECONDS", 0.2)
        patch.setattr(client, "_START_SECONDS", 0.2)
        patch.setattr(process, "_STOP_SECONDS", 0.2)
        with pytest.raises(ControlPlaneError, match=rf"\(process {plane.pid}\) does not answer") as error:
            client.ensure(config)
        assert "flytebuild down" in str(error.value.hint)
        assert client.stop(config) is process.End.KILLED
    assert client.find(config) is None
    assert client.ensure(config).pid != plane.pid


def test_down_says_when_it_had_to_kill(config: Config) -> None:
    plane = client.ensure(config)
    os.kill(plane.pid, signal.SIGSTOP)
    script = "from flytebuild.runtime import process; process._STOP_SECONDS = 0.2\n"
    script += "from flytebuild.cli.main import main; main(['down'])"
    environ = {**os.environ, "FLYTEBUILD_HOME": str(config.home), "FLYTEBUILD_PORT": str(config.port)}
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "was killed" in done.stderr


AS_ANOTHER = """
import os, sys
from pathlib import Path
from flytebuild.errors import ControlPlaneError
from flytebuild.runtime import home, process
os.chdir(sys.argv[1])
if os.geteuid() == 0:
    os.setuid(65534)
else:
    def refuse(pid, signal): raise PermissionError
    os.kill = refuse
try:
    process.end(Path("."), home.holder(Path(".")))
except ControlPlaneError as error:
    print(error.message)
"""


def test_a_control_plane_of_another_user(config: Config) -> None:
    """Only the superuser can really become somebody else; for others, the system's refusal is played."""
    plane = client.ensure(config)
    config.home.chmod(0o755)
    (config.home / home.LOCK_FILE).chmod(0o644)
    done = subprocess.run([sys.executable, "-c", AS_ANOTHER, str(config.home)], capture_output=True, text=True)
    assert f"(process {plane.pid}) belongs to another user" in done.stdout, done.stderr
    assert client.find(config) == plane


def test_a_folder_that_was_removed_under_it(config: Config) -> None:
    plane = client.ensure(config)
    shutil.rmtree(config.home)
    assert client.find(config) is None
    for act in (client.ensure, client.stop):
        with pytest.raises(ControlPlaneError, match="that folder was removed or replaced since") as error:
            act(config)
        assert f"`kill {plane.pid}`" in str(error.value.hint)
    os.kill(plane.pid, signal.SIGTERM)
    os.waitpid(plane.pid, 0)


def test_a_command_that_does_not_end(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    home.make(config.home)
    monkeypatch.setattr(client, "_TURN_SECONDS", 0.1)
    with (config.home / "start.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ControlPlaneError, match="Another command has been starting or stopping"):
            client.ensure(config)


def test_a_folder_that_cannot_be_used(config: Config) -> None:
    config.home.touch()
    for verb in ("up", "down", "status"):
        done = command(config, verb)
        assert done.returncode == 64, done.stderr
        assert f"error: The folder `{config.home}` cannot hold the control plane's data: it is" in done.stderr
        assert "hint: `FLYTEBUILD_HOME`" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_port_that_is_taken(config: Config) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", config.port))
        sock.listen()
        done = command(config, "up", "--no-config")
    assert done.returncode == 69
    assert f"error: The control plane did not start: Port {config.port} of 127.0.0.1 is taken" in done.stderr
    assert "hint: choose another with `FLYTEBUILD_PORT`" in done.stderr


def test_an_engine_that_ssh_does_not_lead_to(config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://builder@nowhere.example")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    (tmp_path / "ssh").write_text("#!/bin/sh\necho 'Host key verification failed.' >&2\nexit 255\n")
    (tmp_path / "ssh").chmod(0o755)
    done = command(config, "up", "--no-config")
    assert done.returncode == 69
    assert "No Docker Engine answers at `ssh://builder@nowhere.example` (from `DOCKER_HOST`): `ssh " in done.stderr
    assert "dial-stdio` ended with 255: Host key verification failed." in done.stderr


def test_a_start_tidies_up(config: Config) -> None:
    make(config.home)
    old, young = config.home / "logs/r1/a0/1.log", config.home / "logs/r2/a0/1.log"
    for path in (old, young):
        path.parent.mkdir(parents=True)
        path.touch()
    for path in (old, *old.parents[:2]):
        os.utime(path, (0, 0))
    log = config.home / process.LOG_FILE
    with log.open("wb") as file:
        file.truncate(process._LOG_BYTES + 1)
    client.ensure(config)
    assert not old.exists()
    assert young.exists()
    assert log.stat().st_size < process._LOG_BYTES
    assert (config.home / "log.1.txt").stat().st_size > process._LOG_BYTES
