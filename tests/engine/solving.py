"""Solving states on the real engine and looking at what comes out."""

from __future__ import annotations

import json
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import httpx
from blake3 import blake3

from flytebuild import engine
from flytebuild.buildkit._pb import filesync_pb2 as pb
from flytebuild.buildkit.connection import Connection
from flytebuild.buildkit.export import Export
from flytebuild.buildkit.frontend import Frontend
from flytebuild.buildkit.progress import Progress
from flytebuild.buildkit.session.files import Files
from flytebuild.buildkit.session.files import Tree as ServedTree
from flytebuild.buildkit.session.providers import Secrets
from flytebuild.buildkit.session.session import Session
from flytebuild.buildkit.solve import Solve
from flytebuild.events import Event, StepFinished, StepLog
from flytebuild.llb.file import FIXED_TIME, ROOT, Owner, copy
from flytebuild.llb.marshal import marshal
from flytebuild.llb.run import BindMount, run
from flytebuild.llb.source import image, local, local_name
from flytebuild.llb.state import State
from flytebuild.spec.images import Platform, RuntimeConfig
from flytebuild.spec.tree import Entry, Tree, assemble, folder_entry, link_entry
from tests import plain
from tests.conftest import Machine
from tests.samples import file_entry

FLYTE = "flyteorg/flyte:py3.11-v2.12.1"
CONTEXT = RuntimeConfig(env=(("PATH", "/opt/venv/bin:/usr/local/bin:/usr/bin:/bin"),), user="root")

_LOOK = """
import hashlib, json, os, stat, sys
found = {}
for folder, folders, files in os.walk(sys.argv[1]):
    for name in (*folders, *files):
        path = os.path.join(folder, name)
        status = os.lstat(path)
        mode = status.st_mode
        found[os.path.relpath(path, sys.argv[1])] = {
            "kind": "link" if stat.S_ISLNK(mode) else "dir" if stat.S_ISDIR(mode) else "file",
            "mode": stat.S_IMODE(mode), "uid": status.st_uid, "gid": status.st_gid, "time": status.st_mtime_ns / 1e9,
            "target": os.readlink(path) if stat.S_ISLNK(mode) else "",
            "sha256": hashlib.sha256(open(path, "rb").read()).hexdigest() if stat.S_ISREG(mode) else "",
        }
print(json.dumps(found))
"""


@dataclass(frozen=True)
class FoundEntry:
    """One entry of a folder on disk."""

    path: str
    kind: Literal["file", "executable", "link", "dir"]
    size: int = 0
    target: str = ""
    digest: str = ""


@dataclass(frozen=True)
class FoundTree:
    """A folder on disk, hashed now."""

    root: Path
    entries: tuple[FoundEntry, ...]
    moved: Mapping[str, Path] = field(default_factory=dict)

    @cached_property
    def tree(self) -> Tree:
        """The same as a value."""
        return assemble(_MADE[entry.kind](entry) for entry in self.entries)

    @property
    def digest(self) -> str:
        return self.tree.digest

    @property
    def state(self) -> State:
        """The files as they are sent, with their made up times."""
        return local(self.tree, name=f"files of {self.root.name}")

    def copied(self, platform: Platform, owner: Owner = ROOT) -> State:
        """The files alone, with the time that images get."""
        return copy(None, self.state, "/", "/", platform, name="copy", contents_only=True, owner=owner, time=FIXED_TIME)

    def copied_onto(self, state: State, platform: Platform) -> State:
        """A state with the files at its root."""
        return copy(state, self.state, "/", "/", platform, name="copy", contents_only=True, time=FIXED_TIME)


_MADE: Mapping[str, Callable[[FoundEntry], Entry]] = {
    "dir": lambda entry: folder_entry(entry.path),
    "link": lambda entry: link_entry(entry.path, entry.target),
    "file": lambda entry: file_entry(entry.path, entry.digest, entry.size),
    "executable": lambda entry: file_entry(entry.path, entry.digest, entry.size, executable=True),
}


def hashed(root: Path) -> FoundTree:
    """Take a folder as it is now."""
    entries = []
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder) / name
            relative = str(path.relative_to(root))
            if path.is_symlink():
                entries.append(FoundEntry(relative, "link", target=os.readlink(path)))
            elif path.is_dir():
                entries.append(FoundEntry(relative, "dir"))
            else:
                hasher = blake3().update_mmap(path) if path.stat().st_size else blake3()
                kind: Literal["executable", "file"] = "executable" if os.access(path, os.X_OK) else "file"
                entries.append(FoundEntry(relative, kind, path.stat().st_size, digest=hasher.hexdigest()))
    return FoundTree(root.resolve(), tuple(entries))


@dataclass
class Transfer:
    """What was sent of one tree: how many entries were named, which files BuildKit asked for, bytes of content."""

    entries: int = 0
    asked: list[str] = field(default_factory=list)
    content: int = 0


@dataclass
class Counted:
    """Serves files, and keeps account of it; a transfer that `waits` tells when it is complete, and is then held up."""

    files: Files
    transfers: list[Transfer]
    waits: tuple[threading.Event, threading.Event] | None = None

    @property
    def method(self) -> str:
        return self.files.method

    def exchange(self, requests: Iterator[bytes], metadata: Mapping[str, Sequence[str]]) -> Iterator[bytes]:
        transfer = Transfer()
        self.transfers.append(transfer)
        paths: list[str] = []

        def seen() -> Iterator[bytes]:
            for raw in requests:
                packet = pb.Packet.FromString(raw)
                if packet.type == pb.REQ:
                    transfer.asked.append(paths[packet.id])
                yield raw

        for raw in self.files.exchange(seen(), metadata):
            packet = pb.Packet.FromString(raw)
            if packet.type == pb.STAT and packet.HasField("stat"):
                paths.append(packet.stat.path)
                transfer.entries += 1
            elif packet.type == pb.DATA:
                transfer.content += len(packet.data)
            elif packet.type == pb.FIN and self.waits:
                complete, go_on = self.waits
                complete.set()
                assert go_on.wait(60)
            yield raw


@dataclass
class Solved:
    """What a solve answered, and what its steps did and wrote."""

    answer: Mapping[str, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    transfers: list[Transfer] = field(default_factory=list)

    @property
    def log(self) -> str:
        return "\n".join(line for event in self.events if isinstance(event, StepLog) for line in event.lines)

    @property
    def executed(self) -> set[str]:
        """The names of the steps that something was done for."""
        return {event.name for event in self.events if isinstance(event, StepFinished) and not event.cached}

    @property
    def vertices(self) -> set[str]:
        """The digests of all steps, as BuildKit tells them."""
        return {event.step for event in self.events if isinstance(event, StepFinished)}

    def was_cached(self, name: str) -> bool:
        """Whether nothing was executed for a step."""
        (step,) = [event for event in self.events if isinstance(event, StepFinished) and event.name == name]
        return step.cached


@dataclass(frozen=True)
class Solver:
    """The engine's BuildKit, with a session of its own for every solve."""

    connection: Connection
    platform: Platform
    mirror: str

    @property
    def base(self) -> State:
        """An image with Python, a shell and a user called flyte."""
        return image(self.base_reference, self.platform, name="base")

    @property
    def base_reference(self) -> str:
        return f"{self.mirror}/{FLYTE}"

    def solve(
        self,
        work: State | Frontend,
        *trees: FoundTree,
        named: Mapping[str, ServedTree] | None = None,
        given: Mapping[str, bytes] | None = None,
        export: Export | None = None,
        keys: Path | None = None,
        waits: tuple[threading.Event, threading.Event] | None = None,
    ) -> Solved:
        """Solve to the end. Raises SolveError."""
        solved = Solved()
        files = Files({**{local_name(tree.digest): tree for tree in trees}, **(named or {})})
        counted = Counted(files, solved.transfers, waits)
        with Session(self.connection, (counted, Secrets(given or {})), keys=keys) as session:
            progress = Progress("test", solved.events.append)
            what = work if isinstance(work, Frontend) else marshal(work)
            solved.answer = Solve(self.connection, session.id).run(what, export, progress)
        return solved

    def shell(self, script: str, state: State | None = None, **mounts: Any) -> State:
        """A step that is executed once more by every test run."""
        args = ["/bin/sh", "-ec", f"{script}\n# {secrets.token_hex(8)}"]
        return run(state or self.base, args, CONTEXT, self.platform, name="shell", **mounts)

    def printed(self, script: str, *trees: FoundTree, state: State | None = None, **mounts: Any) -> str:
        """What a shell prints in a state, which is the base unless another is given."""
        given = mounts.pop("given", None)
        return self.solve(self.shell(script, state, **mounts), *trees, given=given).log

    def listing(self, state: State, below: str = "/") -> State:
        """A step that prints everything in a folder of a state, by path, as one JSON document."""
        args = ["python", "-c", _LOOK, "/look", secrets.token_hex(8)]
        return run(self.base, args, CONTEXT, self.platform, name="look", binds=(BindMount("/look", state, below),))

    def listed(self, state: State, *trees: FoundTree, below: str = "/") -> dict[str, dict[str, Any]]:
        """Everything in a folder of a state, by path."""
        found: dict[str, dict[str, Any]] = json.loads(self.solve(self.listing(state, below), *trees).log)
        return found

    def is_published(self, image: str) -> bool:
        """Whether the registry has a tag."""
        return self._manifest(image).status_code == 200

    def layers(self, image: str) -> list[str]:
        """The digests of an image's layers in the registry."""
        return [layer["digest"] for layer in self._manifest(image).raise_for_status().json()["layers"]]

    def _manifest(self, image: str) -> httpx.Response:
        host, _, path = image.partition("/")
        name, _, tag = path.partition(":")
        accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
        return plain.get(f"http://{host}/v2/{name}/manifests/{tag}", headers={"Accept": accept})


@contextmanager
def connected(machine: Machine) -> Iterator[Solver]:
    """A connection to the machine's BuildKit."""
    with Connection.open(engine.locate()) as connection:
        yield Solver(connection, connection.worker().platform, machine.mirrors["ghcr.io"])
