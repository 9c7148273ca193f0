"""The host's side of the control plane: find it, start it, stop it, and point Flyte's SDK at it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from signal import SIGKILL
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from flytebuild import engine
from flytebuild.config import Config
from flytebuild.errors import ControlPlaneError
from flytebuild.runtime import flyte_config, identity, process, remains
from flytebuild.runtime import home as folder
from flytebuild.runtime.addresses import LOOPBACK, object_store_variables
from flytebuild.runtime.credentials import load_or_create
from flytebuild.runtime.health import health_of
from flytebuild.runtime.home import OBJECTS, Holder

if TYPE_CHECKING:
    from flytebuild.runtime.own_storage import OwnStorage

_TURN_SECONDS = 120.0
"""How long another command may take that starts or stops the same control plane."""
_START_SECONDS = 30.0
_POLL_SECONDS = 0.05

Tell = Callable[[str], None]
"""Gets a sentence that the user wants to read while something takes its time."""


class ControlPlane(Struct, frozen=True):
    """A control plane that answers: `http://127.0.0.1:PORT`, its process, its data folder, and where objects are if not
    in that.
    """

    endpoint: str
    pid: int
    home: Path
    storage: OwnStorage | None = None

    @property
    def config_file(self) -> Path:
        """A Flyte configuration file that names this control plane."""
        return self.home / "config.yaml"

    @property
    def log_file(self) -> Path:
        """What the process writes."""
        return self.home / process.LOG_FILE


class _Answer(Struct, frozen=True):
    """What a control plane says of itself; `runs` counts the unfinished ones, None where it does not tell."""

    plane: ControlPlane
    port: int
    fingerprint: object
    runs: int | None


def find(config: Config) -> ControlPlane | None:
    """The control plane that holds the configured folder, at whichever port; None when there is none that answers.

    Raises UsageError for a folder that cannot be used.
    """
    answer = _ask(config.home, folder.holder(config.home))
    return replace(answer.plane, storage=_storage(config)) if answer else None


def ensure(config: Config, tell: Tell = lambda _: None) -> ControlPlane:
    """The control plane with the configured folder and settings, started when there is none.

    One that was started with other settings is started anew while no run is in progress, and `tell` hears of it.
    Raises ControlPlaneError when one is, or with the end of the log when the process does not come up; UsageError for
    a folder that cannot be used; EngineUnavailableError before anything is started or
    stopped; OutputError when the disk is full.
    """
    folder.make(config.home)
    wanted = identity.fingerprint(config, identity.read_bundle(config.ca_bundle))
    with _turn(config.home):
        answer = _settled(config.home)
        differences = _differences(answer, config, wanted) if answer else {}
        if answer is None or differences:
            if answer is None or answer.port != config.port:
                _refuse_stranger(config)
            engine.connect().close()
            if answer is not None:
                tell(f"The control plane is started anew: it ran with {', '.join(differences.values())}")
                _end_holder(config.home)
            plane = _await_start(config, *process.spawn(config))
        else:
            plane = answer.plane
        flyte_config.write(plane.endpoint, plane.config_file)
        return replace(plane, storage=_storage(config))


def stop(config: Config) -> process.End:
    """Stop the control plane that holds the configured folder, and wait for its end.

    It removes the containers of unfinished runs before it ends. Where there is none, but one that was killed has left
    containers, another one takes their runs over and ends with them. Raises ControlPlaneError when it cannot be ended,
    UsageError for a folder that cannot be used.
    """
    if folder.holder(config.home) is None:
        if _is_orphan(health := health_of(config.port), config.home):
            raise _orphan(config, health)
        if not remains.are_there(config.home):
            return process.End.NOT_RUNNING
        ensure(config)
    with _turn(config.home):
        return _end_holder(config.home)


def has_object(home: Path, uri: str) -> bool:
    """Whether the store in a control plane's folder has an object, given as `s3://BUCKET/KEY`; it need not run."""
    scheme, _, path = uri.partition("://")
    return scheme == "s3" and ".." not in path.split("/") and (home / OBJECTS / path).is_file()


def flyte_environment(plane: ControlPlane) -> dict[str, str]:
    """Variables with which unmodified code that calls `flyte.init_from_config` reaches this control plane.

    The file is needed since the SDK ignores the other variables without one; they are needed since a file in the
    user's folder comes before ours. The last ones let the host read what tasks wrote.
    """
    return {
        "FLYTECTL_CONFIG": str(plane.config_file),
        "FLYTE_ADMIN_ENDPOINT": flyte_config.address(plane.endpoint),
        "FLYTE_ADMIN_INSECURE": "true",
        "FLYTE_IMAGE_BUILDER": flyte_config.BUILDER,
        "FLYTE_TASK_ORG": flyte_config.ORG,
        "FLYTE_TASK_PROJECT": flyte_config.PROJECT,
        "FLYTE_TASK_DOMAIN": flyte_config.DOMAIN,
        **_storage_variables(plane),
    }


def _storage_variables(plane: ControlPlane) -> dict[str, str]:
    """How the SDK on the host reaches what tasks wrote. Raises ControlPlaneError where the credentials are missing."""
    if plane.storage is None:
        credentials = load_or_create(plane.home)
        return object_store_variables(plane.endpoint, credentials.key_id, credentials.key_secret)
    from flytebuild.runtime import own_storage

    try:
        return plane.storage.variables(own_storage.find_key(os.environ))
    except own_storage.CredentialsMissingError as error:
        raise own_storage.missing(plane.storage, error) from error


def _storage(config: Config) -> OwnStorage | None:
    if not config.storage:
        return None
    # Loaded here: few have a store of their own.
    from flytebuild.runtime import own_storage

    return own_storage.configured(config)


def _ask(home: Path, holder: Holder | None) -> _Answer | None:
    """What the process that holds the folder says of itself, or None while it says nothing."""
    if holder is None or holder.port is None:
        return None
    health = health_of(holder.port)
    if health is None or not _is_same(health.get("home"), home):
        return None
    pid = health.get("pid")
    if not isinstance(pid, int) or holder.pid not in (pid, 0):
        return None
    runs = health.get("runs_in_progress")
    plane = ControlPlane(_endpoint(holder.port), pid, home)
    return _Answer(plane, holder.port, health.get("fingerprint"), runs if isinstance(runs, int) else None)


def _settled(home: Path) -> _Answer | None:
    """The control plane that holds the folder, once it answers; None once nobody holds it.

    Neither is so at once while one starts or ends that nobody else waits for.
    """
    deadline = time.monotonic() + _START_SECONDS
    while (holder := folder.holder(home)) is not None:
        if answer := _ask(home, holder):
            return answer
        if time.monotonic() > deadline:
            raise ControlPlaneError(
                f"The control plane of `{home}` (process {holder.pid}) does not answer",
                hint=f"`flytebuild down` ends it; its log is `{home / process.LOG_FILE}`",
            )
        time.sleep(_POLL_SECONDS)
    return None


def _differences(answer: _Answer, config: Config, wanted: Mapping[str, object]) -> dict[str, str]:
    """In what a control plane differs from the wanted one, in words; ControlPlaneError while its runs need it."""
    found = identity.differences(answer.fingerprint, wanted)
    if answer.port != config.port:
        found["port"] = f"port {answer.port} instead of {config.port}"
    if answer.runs == 0:
        return found
    # Another virtual environment with the same versions does the same: no reason to keep anybody waiting.
    found.pop("python", None)
    if found:
        raise ControlPlaneError(
            f"The control plane at {answer.plane.endpoint} has runs in progress and was started with "
            + ", ".join(found.values()),
            hint="wait until they have ended, or end them and it with `flytebuild down`",
        )
    return found


def _refuse_stranger(config: Config) -> None:
    health = health_of(config.port)
    if _is_orphan(health, config.home):
        raise _orphan(config, health)
    if health is not None:
        raise ControlPlaneError(
            f"Port {config.port} belongs to the control plane of `{health.get('home')}` (process {health.get('pid')})",
            hint="stop that one, or choose another port with `FLYTEBUILD_PORT`",
        )


def _is_orphan(health: dict[str, object] | None, home: Path) -> bool:
    """Whether what answers serves this folder without holding it."""
    return health is not None and _is_same(health.get("home"), home)


def _orphan(config: Config, health: dict[str, object] | None) -> ControlPlaneError:
    pid = health.get("pid") if health else None
    return ControlPlaneError(
        f"Process {pid} at port {config.port} serves `{config.home}`, but that folder was removed or replaced since",
        hint=f"if it is yours, `kill {pid}` ends it",
    )


def _await_start(config: Config, pid: int, written: int) -> ControlPlane:
    """Wait until the process answers; `written` is the size that its log had before it."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        plane = find(config)
        if plane is not None:
            return plane
        if process.has_ended(pid):
            break
        time.sleep(_POLL_SECONDS)
    else:
        os.kill(pid, SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
    raise process.not_started(config.home / process.LOG_FILE, written)


def _end_holder(home: Path) -> process.End:
    holder = folder.holder(home)
    return process.end(home, holder) if holder else process.End.NOT_RUNNING


@contextlib.contextmanager
def _turn(home: Path) -> Iterator[None]:
    """Be the only command, in the only thread, that starts or stops the folder's control plane."""
    with contextlib.ExitStack() as stack:
        with folder.usable(home):
            file = stack.enter_context((home / "start.lock").open("a", encoding="utf-8"))
        deadline = time.monotonic() + _TURN_SECONDS
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if time.monotonic() > deadline:
                raise ControlPlaneError(
                    f"Another command has been starting or stopping the control plane of `{home}` "
                    f"for more than {_TURN_SECONDS:g} s",
                    hint="end that command, then try again",
                )
            time.sleep(_POLL_SECONDS)
        yield


def _is_same(home: object, path: Path) -> bool:
    return isinstance(home, str) and Path(home).resolve() == path.resolve()


def _endpoint(port: int) -> str:
    return f"http://{LOOPBACK}:{port}"
