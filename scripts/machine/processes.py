"""Processes: short ones that must not outlive us, and servers that must, recognised safely later on."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.machine.report import MachineError

Command = Sequence["str | Path"]


@dataclass(frozen=True)
class Process:
    """A process that cannot be mistaken for a later one of the same number.

    `started` is in clock ticks since boot, and `boot` is the kernel's id of that boot.
    """

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The process that has this number now, or None."""
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        if fields[0] == "Z":
            return None
        return cls(pid, int(fields[19]), Path("/proc/sys/kernel/random/boot_id").read_text().strip())

    def is_running(self) -> bool:
        return Process.of(self.pid) == self

    def stop(self, patience: float) -> None:
        """Ask it to end, and kill it when it has not after `patience` seconds."""
        for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 5.0)):
            if not self.is_running():
                return
            os.kill(self.pid, number)
            wait_until(lambda: not self.is_running(), seconds)


class Children:
    """The short-lived processes of one command; `cancel` ends them all and starts no more."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self.cancelled = False

    def cancel(self) -> None:
        with self._lock:
            self.cancelled = True
            for child in self._running:
                child.kill()

    def check(self) -> None:
        """Raise when the command is being given up."""
        if self.cancelled:
            raise MachineError("Interrupted", exit_code=130)

    @contextmanager
    def start(
        self, command: Command, *, log: Path, environment: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run a command whose output is read by the caller; its messages go to `log`. It must end well."""
        # Killed together with the thread that started it, so that not even `kill -9` on us leaves it behind.
        full = ["setpriv", "--pdeathsig", "KILL", *map(str, command)]
        with log.open("ab") as messages, self._lock:
            self.check()
            child = subprocess.Popen(
                full,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=messages,
                env=environment,
                start_new_session=True,
            )
            self._running.add(child)
        try:
            yield child
            code = child.wait()
        finally:
            child.kill()
            child.wait()
            assert child.stdout
            child.stdout.close()
            with self._lock:
                self._running.discard(child)
        self.check()
        if code:
            raise MachineError(
                f"`{Path(command[0]).name}` ended with exit code {code}: {last_line(log)}",
                hint=f"its messages are in `{log}`",
            )

    def run(self, command: Command, *, log: Path, environment: Mapping[str, str] | None = None) -> None:
        """Run a command to its good end; its output goes to `log`."""
        with self.start(command, log=log, environment=environment) as child, log.open("ab") as messages:
            assert child.stdout
            while chunk := child.stdout.read1(65536):  # type: ignore[attr-defined]
                messages.write(chunk)


def serve(command: Command, *, log: Path, environment: Mapping[str, str]) -> Process:
    """Start a process that outlives us."""
    with log.open("ab") as messages:
        child = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            stdout=messages,
            stderr=messages,
            env=environment,
            start_new_session=True,
        )
    # Not ours to wait for any more.
    child.returncode = 0
    process = Process.of(child.pid)
    if process is None:
        raise MachineError(f"`{Path(command[0]).name}` ended at once: {last_line(log)}", hint=f"see `{log}`")
    return process


def run_quietly(command: Command) -> subprocess.CompletedProcess[str]:
    """Run a quick command whose exit code and output the caller looks at."""
    return subprocess.run(
        list(map(str, command)), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60
    )


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll `condition()` until it holds; False when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def last_line(log: Path) -> str:
    """The last line of a log that says something."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
