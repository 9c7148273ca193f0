"""Root file systems with Debian's Python, and with Flyte on top, made in folders and read as layers."""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

from scripts.machine.debian import (
    GNU_NAMES,
    architecture,
    ca_bundle,
    mmdebstrap,
    mmdebstrap_environment,
    new_folder,
)
from scripts.machine.processes import Children, Command, run_quietly
from scripts.machine.state import State

CREATED = int(datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp())
"""The latest time in an image: two machines that make a base of the same packages make the same base."""

ACCOUNTS = ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")
FLYTE_PATHS = (
    *(f"etc/{name}{suffix}" for name in ACCOUNTS for suffix in ("", "-")),
    "home/flyte",
    "opt/venv",
    "root",
    "usr/bin/uv",
)
"""What adding Flyte to a root changes."""

SCRIPTS = Path(__file__).parent


def make_python(state: State, suite: str, folder: Path, log: Path, children: Children) -> Path:
    """Make the root of a release of Debian with its Python, as slim as Docker's images are."""
    scratch = new_folder(folder)
    command = mmdebstrap(
        state,
        "--include=python3,ca-certificates",
        f'--customize-hook="{SCRIPTS / "slim-root.sh"}" "$1"',
        "--format=directory",
        suite,
        scratch / "root",
    )
    environment = mmdebstrap_environment(scratch, {"SOURCE_DATE_EPOCH": str(CREATED)})
    children.run(command, log=log, environment=environment)
    date_bytecode(scratch / "root/usr/lib")
    return scratch / "root"


def add_flyte(root: Path, flyte_version: str, uv: Path, log: Path, children: Children) -> None:
    """Add what the published image of Flyte has over its Python. Left out: build-essential, for its size."""
    settings = {
        **index_settings(),
        "FLYTE_VERSION": flyte_version,
        "UV": str(uv),
        "CA_BUNDLE": str(ca_bundle() or ""),
        "SOURCE_DATE_EPOCH": str(CREATED),
    }
    namespaces = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child")
    environment = mmdebstrap_environment(root.parent, settings)
    children.run([*namespaces, SCRIPTS / "add-flyte.sh", root], log=log, environment=environment)
    date_bytecode(root / "opt/venv")


def read_layer(root: Path, log: Path, children: Children, paths: Sequence[str] = (".",)) -> Iterator[bytes]:
    """A root, or those of `paths` that it has, as a tar stream: the same bytes for the same content."""
    command: Command = [
        "tar",
        "--create",
        "--format=gnu",
        "--sort=name",
        "--numeric-owner",
        f"--mtime=@{CREATED}",
        "--clamp-mtime",
        *(f"--exclude=./{name}/*" for name in ("dev", "proc", "sys")),
        f"--directory={root}",
        *(path for path in paths if (root / path).exists()),
    ]
    with children.start(command, log=log) as child:
        assert child.stdout
        while chunk := child.stdout.read(1 << 20):
            yield chunk


def date_bytecode(folder: Path) -> None:
    """Let compiled files name the times that their sources will have in the layer; those without a source go.

    Otherwise Python would find them stale and compile at every start of a container.
    """
    for compiled in folder.rglob("__pycache__/*.pyc"):
        source = compiled.parent.parent / f"{compiled.name.partition('.')[0]}.py"
        with compiled.open("r+b") as file:
            header = file.read(16)
            about = source.stat() if source.is_file() else None
            is_dated = header[4:8] == bytes(4)
            if about and is_dated and header[12:16] == (about.st_size & 0xFFFFFFFF).to_bytes(4, "little"):
                file.seek(8)
                file.write(min(int(about.st_mtime), CREATED).to_bytes(4, "little"))
                continue
        if is_dated:
            compiled.unlink()


def fetch_uv(version: str, target: str, folder: Path, log: Path, children: Children) -> Path:
    """uv's program for an architecture, out of its wheel."""
    scratch = new_folder(folder)
    platforms = [f"--platform=manylinux_{glibc}_{GNU_NAMES[target]}" for glibc in ("2_28", "2_17")]
    command: Command = [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"),
        *(platforms if target != architecture() else ()),
        *("--dest", scratch, f"uv=={version}"),
    ]
    children.run(command, log=log)
    (wheel,) = scratch.glob("uv-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/scripts/uv"))
        (scratch / "uv").write_bytes(archive.read(name))
    (scratch / "uv").chmod(0o755)
    return scratch / "uv"


def index_settings() -> dict[str, str]:
    """The package index that pip is told to use; uv reads none of pip's settings."""
    if "UV_DEFAULT_INDEX" in os.environ:
        return {}
    configured = run_quietly([sys.executable, "-m", "pip", "config", "get", "global.index-url"]).stdout.strip()
    index = os.environ.get("PIP_INDEX_URL") or configured
    return {"UV_DEFAULT_INDEX": index} if index else {}
