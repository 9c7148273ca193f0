"""Images of a few files: tar streams that are made in memory."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scripts.machine.roots import CREATED

APPLETS = ("cat", "echo", "env", "id", "ls", "mkdir", "pwd", "rm", "sh", "sleep", "test", "touch", "true")
ENTRYPOINT = b'#!/bin/sh\necho "entrypoint: $*"\nexec "$@"\n'

SERVICE_CONFIG: dict[str, Any] = {
    "User": "app",
    "WorkingDir": "/srv/app",
    "Entrypoint": ["/bin/entrypoint"],
    "Cmd": ["echo", "served by default"],
    "Env": [
        "PATH=/opt/acme/bin:/usr/bin:/bin",
        "LD_LIBRARY_PATH=/opt/acme/lib",
        "GREETING=good morning",
    ],
    "Labels": {"com.example.team": "imaging", "org.opencontainers.image.title": "service"},
    "StopSignal": "SIGINT",
    "ExposedPorts": {"8080/tcp": {}},
    "Volumes": {"/srv/data": {}},
}
"""One of everything that an image can say about how it runs."""

COPY_ONLY_CONFIG: dict[str, Any] = {"Env": ["PATH=/usr/bin:/bin"], "WorkingDir": "/srv"}


def service(busybox: Path) -> Iterator[bytes]:
    """A system of one program, whose configuration says everything that there is to say."""
    links = {f"bin/{name}": "busybox" for name in APPLETS}
    yield _tar(
        {
            "bin/busybox": busybox.read_bytes(),
            "bin/entrypoint": ENTRYPOINT,
            **_accounts("app:x:1000:1000::/srv/app:/bin/sh\n", "app:x:1000:\n"),
        },
        folders=("opt/acme/bin", "opt/acme/lib", "root", "srv/data", "tmp"),
        owned={"srv/app": 1000},
        links=links,
    )


def copy_only(architecture: str) -> Iterator[bytes]:
    """Files that say what they are for, and nothing that could run."""
    yield _tar({"etc/architecture": f"{architecture}\n".encode(), **_accounts()}, folders=("root", "srv", "tmp"))


def program(name: str, content: bytes) -> Iterator[bytes]:
    """One program at `name`."""
    yield _tar({name: content})


def _accounts(passwd: str = "", group: str = "") -> dict[str, bytes]:
    return {
        "etc/passwd": f"root:x:0:0:root:/root:/bin/sh\n{passwd}".encode(),
        "etc/group": f"root:x:0:\n{group}".encode(),
    }


def _tar(
    files: Mapping[str, bytes],
    *,
    folders: tuple[str, ...] = (),
    owned: Mapping[str, int] | None = None,
    links: Mapping[str, str] | None = None,
) -> bytes:
    """A layer; `owned` are folders of somebody else than root. What lies in a `bin` or has no folder can be run."""
    entries: dict[str, tuple[tarfile.TarInfo, bytes]] = {}
    for name in (*files, *folders, *(owned or ()), *(links or ())):
        for parent in reversed(Path(name).parents[:-1]):
            entries[str(parent)] = (_entry(str(parent), tarfile.DIRTYPE, 0o755), b"")
    for name in folders:
        entries[name] = (_entry(name, tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755), b"")
    for name, owner in (owned or {}).items():
        entry = _entry(name, tarfile.DIRTYPE, 0o755)
        entry.uid = entry.gid = owner
        entries[name] = (entry, b"")
    for name, target in (links or {}).items():
        entry = _entry(name, tarfile.SYMTYPE, 0o777)
        entry.linkname = target
        entries[name] = (entry, b"")
    for name, content in files.items():
        entry = _entry(name, tarfile.REGTYPE, 0o755 if Path(name).parent.name in ("bin", "") else 0o644)
        entry.size = len(content)
        entries[name] = (entry, content)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for _, (entry, content) in sorted(entries.items()):
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = kind, mode, CREATED
    return entry
