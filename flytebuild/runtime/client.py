"""The host's side of the control plane: find it, start it, stop it, and point Flyte's SDK at it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import IO

import httpx

from flytebuild import engine
from flytebuild.config import Config
from flytebuild.errors import ControlPlaneError, UsageError
from flytebuild.runtime.container import LOOPBACK, object_store_variables
from flytebuild.runtime.credentials import load_or_create

MARKER = (
    "# Written by flytebuild: it points Flyte's SDK at the local control plane. Remove this line to keep your edits."
)
"""First line of the configuration files that we write, and may therefore write again."""

ORG, PROJECT, DOMAIN = "local", "flytebuild", "development"
BUILDER = "flytebuild"

_START_SECONDS = 30.0
_STOP_SECONDS = 30.0
_HEALTH_SECONDS = 5.0
_POLL_SECONDS = 0.05
_LOG_LINES = 8


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A control plane that answers: `http://127.0.0.1:PORT`, its process and its data folder."""

    endpoint: str
    pid: int
    home: Path

    @property
    def config_file(self) -> Path:
        """A Flyte configuration file that names this control plane."""
        return self.home / "config.yaml"

    @property
    def log_file(self) -> Path:
        """What the process writes."""
        return self.home / "log.txt"


def find(config: Config) -> ControlPlane | None:
    """The control plane of the configured folder, or None when it does not answer at the configured port."""
    health = _health(config.port)
    if health is None or not _is_same(health.get("home"), config.home):
        return None
    return ControlPlane(_endpoint(config.port), int(str(health["pid"])), config.home)


def ensure(config: Config) -> ControlPlane:
    """The control plane of the configured folder, started when there is none.

    Raises EngineUnavailableError before anything is started, and ControlPlaneError with the end of the log when the
    process does not come up.
    """
    config.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(config.home / "start.lock"):
        plane = find(config)
        if plane is None:
            _refuse_stranger(config.port)
            engine.connect().close()
            log = config.home / "log.txt"
            written = log.stat().st_size if log.exists() else 0
            pid = _spawn(config)
            plane = _await_start(config, pid, written)
        write_flyte_config(plane, plane.config_file)
        return plane


def stop(config: Config) -> bool:
    """Stop the control plane of the configured folder and wait for its end; False when there was none.

    It removes the containers of unfinished runs before it ends.
    """
    plane = find(config)
    if plane is None:
        return False
    os.kill(plane.pid, SIGTERM)
    if not _await_end(config.home, plane.pid, _STOP_SECONDS):
        os.kill(plane.pid, SIGKILL)
        _await_end(config.home, plane.pid, _STOP_SECONDS)
    return True


def flyte_environment(plane: ControlPlane) -> dict[str, str]:
    """Variables with which unmodified code that calls `flyte.init_from_config` reaches this control plane.

    The file is needed since the SDK ignores the other variables without one; they are needed since a file in the
    user's folder comes before ours. The last ones let the host read what tasks wrote.
    """
    credentials = load_or_create(plane.home)
    return {
        "FLYTECTL_CONFIG": str(plane.config_file),
        "FLYTE_ADMIN_ENDPOINT": _dns(plane.endpoint),
        "FLYTE_ADMIN_INSECURE": "true",
        "FLYTE_IMAGE_BUILDER": BUILDER,
        "FLYTE_TASK_ORG": ORG,
        "FLYTE_TASK_PROJECT": PROJECT,
        "FLYTE_TASK_DOMAIN": DOMAIN,
        **object_store_variables(plane.endpoint, credentials.key_id, credentials.key_secret),
    }


def write_flyte_config(plane: ControlPlane, path: Path) -> None:
    """Write a Flyte configuration file that names this control plane.

    Raises UsageError where there is a file that we did not write.
    """
    content = (
        f"{MARKER}\n"
        f"admin:\n  endpoint: {_dns(plane.endpoint)}\n  insecure: true\n"
        f"image:\n  builder: {BUILDER}\n"
        f"task:\n  org: {ORG}\n  project: {PROJECT}\n  domain: {DOMAIN}\n"
    )
    with contextlib.suppress(FileNotFoundError):
        present = path.read_text(encoding="utf-8", errors="replace")
        if present == content:
            return
        if not present.startswith(MARKER):
            raise UsageError(
                f"`{path}` exists and was not written by flytebuild",
                hint="move it away, or keep it and use `flytebuild run`, which needs no file",
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(content, encoding="utf-8")
    part.replace(path)


def command(config: Config) -> list[str]:
    """The command line of the process."""
    arguments = ["--home", str(config.home.absolute()), "--port", str(config.port)]
    for source, target in config.mirrors.items():
        arguments += ["--mirror", f"{source}={target}"]
    if config.ca_bundle:
        arguments += ["--ca-bundle", str(config.ca_bundle.absolute())]
    return [sys.executable, "-m", "flytebuild.runtime", *arguments]


def _health(port: int) -> dict[str, object] | None:
    """What answers at a port: its health document, or None when nothing of ours does."""
    try:
        # Never through a proxy: the address is this machine's.
        answer = httpx.get(f"{_endpoint(port)}/healthz", timeout=_HEALTH_SECONDS, trust_env=False)
        document = answer.json() if answer.status_code == 200 else None
    except (httpx.HTTPError, ValueError):
        return None
    if isinstance(document, dict) and str(document.get("schema", "")).startswith("flytebuild.health/"):
        return document
    return None


def _refuse_stranger(port: int) -> None:
    health = _health(port)
    if health is not None:
        raise ControlPlaneError(
            f"Port {port} belongs to the control plane of `{health.get('home')}` (process {health.get('pid')})",
            hint="stop that one, or choose another port with `FLYTEBUILD_PORT`",
        )


def _spawn(config: Config) -> int:
    """Start the process in a session of its own, so that it outlives the terminal; its identifier."""
    log = os.open(config.home / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        arguments = command(config)
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, log, 1),
            (os.POSIX_SPAWN_DUP2, log, 2),
        ]
        return os.posix_spawn(arguments[0], arguments, os.environ, file_actions=actions, setsid=True)
    finally:
        os.close(log)


def _await_start(config: Config, pid: int, written: int) -> ControlPlane:
    """Wait until the process answers; `written` is the size that its log had before it."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        plane = find(config)
        if plane is not None:
            return plane
        if _has_ended(pid):
            break
        time.sleep(_POLL_SECONDS)
    else:
        os.kill(pid, SIGKILL)
        _has_ended(pid)
    raise _not_started(config.home / "log.txt", written)


def _not_started(log: Path, written: int) -> ControlPlaneError:
    """What the process said last: its own error where it ended with one, the end of its log otherwise."""
    lines = log.read_bytes()[written:].decode("utf-8", "replace").splitlines()
    for number, line in enumerate(lines):
        if line.startswith("error: "):
            hint = next((item[6:] for item in lines[number:] if item.startswith("hint: ")), None)
            return ControlPlaneError(f"The control plane did not start: {line[7:]}", hint=hint)
    tail = "\n".join(f"  {line}" for line in lines[-_LOG_LINES:])
    return ControlPlaneError(
        f"The control plane did not start; the end of its log:\n{tail}", hint=f"its whole log is `{log}`"
    )


def _await_end(home: Path, pid: int, seconds: float) -> bool:
    """Wait until the process has let go of its folder, which it does last."""
    deadline = time.monotonic() + seconds
    with (home / "lock").open("a") as file:
        while time.monotonic() < deadline:
            _has_ended(pid)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            time.sleep(_POLL_SECONDS)
    return False


def _has_ended(pid: int) -> bool:
    """Whether a process that may be our child has ended; collects it then."""
    with contextlib.suppress(ChildProcessError):
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    return False


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[IO[str]]:
    """Hold a file's lock; waits for another holder."""
    with path.open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _is_same(home: object, path: Path) -> bool:
    return isinstance(home, str) and Path(home).resolve() == path.resolve()


def _endpoint(port: int) -> str:
    return f"http://{LOOPBACK}:{port}"


def _dns(endpoint: str) -> str:
    """The form of an address that Flyte's configuration uses."""
    return "dns:///" + endpoint.removeprefix("http://")
