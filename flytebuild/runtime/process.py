"""The process of the control plane, as whoever starts it sees it."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from enum import Enum
from pathlib import Path
from signal import SIGKILL, SIGTERM

from flytebuild.config import Config
from flytebuild.errors import ControlPlaneError
from flytebuild.runtime.home import Holder, holder

LOG_FILE = "log.txt"
_SCRIPT = Path(__file__).parent / "entry" / "control_plane.py"
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.05
_LOG_LINES = 8
_LOG_BYTES = 8 << 20
"""A log that is larger is put aside at the next start."""


def command(config: Config) -> list[str]:
    """The command line of the process."""
    arguments = ["--home", str(config.home.resolve()), "--port", str(config.port)]
    arguments += ["--contact-timeout", str(config.contact_timeout)]
    if config.storage:
        arguments += ["--storage", config.storage, "--storage-region", config.storage_region]
        arguments += ["--storage-endpoint", config.storage_endpoint] if config.storage_endpoint else []
    for source, target in config.mirrors.items():
        arguments += ["--mirror", f"{source}={target}"]
    if config.ca_bundle:
        arguments += ["--ca-bundle", str(config.ca_bundle.absolute())]
    if config.warm:
        arguments.append("--warm")
    return [sys.executable, str(_SCRIPT), *arguments]


class End(Enum):
    """How a control plane was ended."""

    NOT_RUNNING = "not running"
    STOPPED = "stopped"
    KILLED = "killed"


def spawn(config: Config) -> tuple[int, int]:
    """Start the process in a session of its own, so that it outlives the terminal.

    Its identifier, and the size that its log had before.
    """
    path = config.home / LOG_FILE
    if path.exists() and path.stat().st_size > _LOG_BYTES:
        path.replace(path.with_name("log.1.txt"))
    written = path.stat().st_size if path.exists() else 0
    arguments = command(config)
    # Opened in the process itself: whichever of the three we have closed here is open there.
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(path), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(arguments[0], arguments, os.environ, file_actions=actions, setsid=True), written


def has_ended(pid: int) -> bool:
    """Whether a process that may be our child has ended; collects it then."""
    with contextlib.suppress(ChildProcessError):
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    return False


def end(folder: Path, there: Holder) -> End:
    """End the process that holds the folder, by force where it does not listen. Raises ControlPlaneError."""
    if there.pid <= 0:
        raise ControlPlaneError(
            f"The control plane of `{folder}` runs in another container or on another machine",
            hint="run `flytebuild down` there",
        )
    for signal, outcome in ((SIGTERM, End.STOPPED), (SIGKILL, End.KILLED)):
        # Asked again each time: the number is a stranger's as soon as the process has gone.
        current = holder(folder)
        if current is None or current.pid != there.pid:
            return End.STOPPED
        try:
            os.kill(there.pid, signal)
        except ProcessLookupError:
            pass
        except PermissionError as error:
            raise ControlPlaneError(
                f"The control plane of `{folder}` (process {there.pid}) belongs to another user",
                hint="that user can end it with `flytebuild down`; `FLYTEBUILD_HOME` and `FLYTEBUILD_PORT` "
                "give you one of your own",
            ) from error
        if _has_let_go(folder, there.pid):
            return outcome
    raise ControlPlaneError(
        f"The control plane of `{folder}` (process {there.pid}) was killed and has not ended",
        hint="the system keeps it, most likely waiting for a disk or a network",
    )


def _has_let_go(folder: Path, pid: int) -> bool:
    """Wait until a process has let go of its folder, which it does last."""
    deadline = time.monotonic() + _STOP_SECONDS
    while time.monotonic() < deadline:
        has_ended(pid)
        current = holder(folder)
        if current is None or current.pid != pid:
            return True
        time.sleep(_POLL_SECONDS)
    return False


def not_started(log: Path, written: int) -> ControlPlaneError:
    """What the process said last: its own error where it ended with one, the end of its log otherwise."""
    lines = log.read_bytes()[written:].decode("utf-8", "replace").splitlines()
    for number, line in enumerate(lines):
        if line.startswith("error: "):
            hint = next((item[6:] for item in lines[number:] if item.startswith("hint: ")), None)
            return ControlPlaneError(f"The control plane did not start: {line[7:]}", hint=hint)
    tail = "".join(f"\n  {line}" for line in lines[-_LOG_LINES:])
    return ControlPlaneError(
        f"The control plane did not start{f'; the end of its log:{tail}' if tail else ', and said nothing'}",
        hint=f"its whole log is `{log}`",
    )
