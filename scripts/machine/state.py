"""The state folder: what lies where in it, the record of what runs, and the lock that keeps commands apart."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scripts.machine.processes import Process
from scripts.machine.report import MachineError

LONGEST_SOCKET_PATH = 107
"""What `sockaddr_un.sun_path` holds, without its closing zero byte."""


@dataclass(frozen=True)
class State:
    """Paths and names that belong to one state folder."""

    folder: Path

    @property
    def name(self) -> str:
        """Ten characters that are this folder's own: its bridge, its cgroup."""
        return "fb" + hashlib.sha256(str(self.folder).encode()).hexdigest()[:8]

    @property
    def tools(self) -> Path:
        """The unpacked Debian packages that we run on the host."""
        return self.folder / "tools"

    @property
    def root(self) -> Path:
        """The engine's root file system."""
        return self.folder / "root"

    @property
    def namespace(self) -> Path:
        """Holds the network namespace of an engine that has one of its own; in its root, where its programs see it."""
        return self.root / "run/network-namespace"

    @property
    def registry(self) -> Path:
        return self.folder / "registry"

    @property
    def scratch(self) -> Path:
        """What is half made; nothing in it is needed by a later command."""
        return self.folder / "scratch"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def record_file(self) -> Path:
        return self.folder / "machine.json"

    @property
    def short_link(self) -> Path:
        """Leads to the engine's `/run` where the folder's own path is too long for a socket's address."""
        return Path("/run") / self.name

    @property
    def needs_short_link(self) -> bool:
        return len(os.fsencode(self.root / "run/docker.sock")) > LONGEST_SOCKET_PATH

    @property
    def engine_host(self) -> str:
        """The address of our own engine."""
        run = self.short_link if self.needs_short_link else self.root / "run"
        return f"unix://{run}/docker.sock"


@dataclass
class Record:
    """What this state folder started and decided; `machine.json`.

    `subnet` is the engine's whole /16 network, its bridge and the users' networks alike. An engine on a host of its own
    has a `linked_port`: that of the registry, which is on this machine's loopback.
    """

    engine: Process | None = None
    subnet: str | None = None
    registry: Process | None = None
    registry_port: int | None = None
    linked_port: int | None = None

    @classmethod
    def load(cls, state: State) -> Record:
        try:
            values: dict[str, Any] = json.loads(state.record_file.read_text())
        except FileNotFoundError:
            return cls()
        except ValueError as error:
            raise MachineError(f"`{state.record_file}` cannot be read: {error}") from error
        for key in ("engine", "registry"):
            values[key] = Process(**values[key]) if values.get(key) else None
        return cls(**values)

    def save(self, state: State) -> None:
        draft = state.record_file.with_suffix(".new")
        draft.write_text(json.dumps(asdict(self), indent=2) + "\n")
        draft.replace(state.record_file)


@contextmanager
def locked(state: State) -> Iterator[None]:
    """Hold the folder for one command; another one waits. Makes the folder where there is none."""
    while True:
        _adopt(state.folder)
        with (state.folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # A `down` that we waited for has removed the folder, and the file that we locked with it.
            if _is_at(file.fileno(), state.folder / "lock"):
                yield
                return


def remove_tree(path: Path) -> None:
    """Remove a folder, never across a mount point."""
    refuse_mounts_in(path)
    subprocess.run(["rm", "-rf", "--one-file-system", str(path)], check=True)


def refuse_mounts_in(path: Path) -> None:
    """Raise when something is still mounted in `path`: what lies below is not ours to remove."""
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        # Spaces and the like are octal escapes; a state folder's own name is compared the same way.
        mounted = Path(line.split()[4].encode().decode("unicode_escape").encode("latin-1").decode())
        if mounted == path or path in mounted.parents:
            raise MachineError(f"`{mounted}` is still mounted", hint=f"`umount {mounted}`, then run this again")


def _adopt(folder: Path) -> None:
    """Make the folder, or check that it is one of ours: `down` removes it as a whole."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {entry.name for entry in folder.iterdir()}
    if names and "lock" not in names:
        raise MachineError(f"`{folder}` holds other things", hint="name a new or an empty folder", exit_code=64)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    here = os.fstat(descriptor)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
