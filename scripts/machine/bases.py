"""The base images that Flyte's images start from, made from Debian's archive and PyPI.

They are pushed to the registry on the loopback under the name that they have on ghcr.io, which is then mirrored there.
"""

from __future__ import annotations

import io
import os
import platform
import ssl
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from scripts.machine.debian import architecture, ca_bundle, mmdebstrap, mmdebstrap_environment, new_folder
from scripts.machine.processes import Children, Command, run_quietly
from scripts.machine.push import Repository
from scripts.machine.report import MachineError, say
from scripts.machine.state import State

MIRRORED = "ghcr.io"
FLYTE_REPOSITORY = "ghcr.io/flyteorg/flyte"
UV_REPOSITORY = "ghcr.io/astral-sh/uv"
UV_VERSION = "0.13.4"
SUITES = {"3.11": "bookworm", "3.13": "trixie"}
"""Debian's releases by the Python that they have."""

CREATED = int(datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp())
"""The latest time in an image: two machines that make a base of the same packages make the same base."""

# What the published image declares. Left out of it: build-essential, for its size.
FLYTE_CONFIG = {
    "User": "flyte",
    "WorkingDir": "/home/flyte",
    "Cmd": ["python3"],
    "Env": [
        "PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        ":/usr/local/nvidia/bin:/usr/local/cuda/bin",
        "LANG=C.UTF-8",
        "VIRTUAL_ENV=/opt/venv",
        "PYTHONPATH=/root",
        "UV_PYTHON=/opt/venv/bin/python",
        "UV_LINK_MODE=copy",
        "UV_COMPILE_BYTECODE=1",
        "LD_LIBRARY_PATH=/usr/local/nvidia/lib64",
    ],
    "Labels": {
        "org.opencontainers.image.authors": "Union.AI <info@union.ai>",
        "org.opencontainers.image.source": "https://github.com/flyteorg/flyte",
    },
}


def is_registry_reachable(seconds: float = 5.0) -> bool:
    """Whether the public registry answers as one: a network's proxy that refuses (403, 502, ...) does not count."""
    answers: list[bool] = []

    def probe() -> None:
        context = ssl.create_default_context(cafile=str(ca_bundle()) if ca_bundle() else None)
        try:
            with urllib.request.urlopen(f"https://{MIRRORED}/v2/", timeout=seconds, context=context):
                answers.append(True)
        except urllib.error.HTTPError as error:
            answers.append(error.code == 401)
        except (OSError, ValueError):
            answers.append(False)

    # In a thread, since looking up a name has no deadline of its own.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(answers and answers[0])


def flyte_tag(flyte_version: str | None) -> str:
    """The tag of the base that flyte asks for under this Python."""
    if flyte_version is None:
        try:
            flyte_version = metadata.version("flyte")
        except metadata.PackageNotFoundError:
            raise MachineError(
                "flyte is not installed for this Python", hint="run `make setup`, or give `--flyte-version`"
            ) from None
    return f"py{_python()}-v{flyte_version}"


def are_there(port: int, tag: str) -> bool:
    """Whether the registry at `port` has the bases."""
    return all(there.has(name) for there, name in _images(port, tag))


def make(state: State, port: int, tag: str, children: Children) -> None:
    """Make the bases that the registry at `port` does not have yet."""
    began = time.monotonic()
    if _python() not in SUITES:
        raise MachineError(
            f"No release of Debian has Python {_python()}, so its base image cannot be made here",
            hint="use python3.11 or python3.13: `rm -r .venv && make setup PYTHON=python3.11`",
        )
    (flyte, _), (uv, _) = _images(port, tag)
    say("bases", f"making {MIRRORED}'s flyte:{tag} and uv:{UV_VERSION} ...")
    scratch = new_folder(state.scratch / "bases")
    program = _fetch_uv(state, scratch, children)
    uv.push(UV_VERSION, _tar_of(program), _image_config({"Entrypoint": ["/uv"]}))
    flyte.push(tag, _flyte_root(state, scratch, program, tag, children), _image_config(FLYTE_CONFIG))
    say("bases", f"made in {time.monotonic() - began:.0f} s")


def _python() -> str:
    return ".".join(platform.python_version_tuple()[:2])


def _images(port: int, tag: str) -> tuple[tuple[Repository, str], tuple[Repository, str]]:
    return (Repository(port, FLYTE_REPOSITORY), tag), (Repository(port, UV_REPOSITORY), UV_VERSION)


def _image_config(config: dict[str, Any]) -> dict[str, Any]:
    created = datetime.fromtimestamp(CREATED, timezone.utc).isoformat().replace("+00:00", "Z")
    return {"architecture": architecture(), "os": "linux", "created": created, "config": config}


def _fetch_uv(state: State, scratch: Path, children: Children) -> Path:
    """uv's program, out of its wheel."""
    requirement = f"uv=={UV_VERSION}"
    command: Command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--dest",
        scratch,
        requirement,
    ]
    children.run(command, log=state.logs / "bases.log")
    (wheel,) = scratch.glob("uv-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/scripts/uv"))
        (scratch / "uv").write_bytes(archive.read(name))
    (scratch / "uv").chmod(0o755)
    return scratch / "uv"


def _tar_of(program: Path) -> Iterator[bytes]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive, program.open("rb") as content:
        entry = tarfile.TarInfo(program.name)
        entry.size, entry.mode, entry.mtime = program.stat().st_size, 0o755, CREATED
        archive.addfile(entry, content)
    yield buffer.getvalue()


def _flyte_root(state: State, scratch: Path, uv: Path, tag: str, children: Children) -> Iterator[bytes]:
    """The base's root file system as a tar stream."""
    settings = {
        "FLYTE_VERSION": tag.partition("-v")[2],
        "UV": str(uv),
        "CA_BUNDLE": str(ca_bundle() or ""),
        "SOURCE_DATE_EPOCH": str(CREATED),
    }
    if "UV_DEFAULT_INDEX" not in os.environ and (index := _pip_index()):
        settings["UV_DEFAULT_INDEX"] = index
    hook = Path(__file__).with_name("flyte-base.sh")
    command = mmdebstrap(
        state,
        "--include=python3,ca-certificates",
        f'--customize-hook="{hook}" "$1"',
        "--skip=output/dev",
        "--format=tar",
        SUITES[_python()],
        "-",
    )
    environment = mmdebstrap_environment(scratch, settings)
    with children.start(command, log=state.logs / "bases.log", environment=environment) as child:
        assert child.stdout
        yield from _chunks(child.stdout)


def _pip_index() -> str:
    """The package index that pip is told to use; uv reads none of pip's settings."""
    configured = run_quietly([sys.executable, "-m", "pip", "config", "get", "global.index-url"]).stdout.strip()
    return os.environ.get("PIP_INDEX_URL") or configured


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(1 << 20):
        yield chunk
