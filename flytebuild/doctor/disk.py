"""The space that a Docker Engine has left, where that can be seen from here."""

from __future__ import annotations

import os
import shutil
import socket
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from flytebuild.amounts import size
from flytebuild.doctor.check import Check, ok, unknown, warning

_LITTLE = 5_000_000_000
"""Bytes; a base with one heavy package may take more."""


def examine_disk(url: str, info: Mapping[str, object]) -> Check:
    """Judge by the engine's address and what its `/info` says."""
    folder = str(info.get("DockerRootDir") or "")
    is_here = urlsplit(url).scheme == "unix" and info.get("KernelVersion") == os.uname().release
    if not folder or not is_here or info.get("Name") != socket.gethostname():
        return unknown("disk", "the engine is on another machine, or does not say where it keeps things")
    for place in _places(urlsplit(url).path, folder):
        try:
            free = shutil.disk_usage(place).free
        except OSError:
            continue
        said = f"{size(free)} are free where the engine keeps images, in `{folder}`"
        if free >= _LITTLE:
            return ok("disk", said)
        return warning("disk", said, "`docker system df` shows what takes space, `docker system prune` frees some")
    return unknown("disk", f"`{folder}` of the engine cannot be looked at from here")


def _places(engine_socket: str, folder: str) -> Iterator[Path]:
    """Where the engine's folder may be seen: below the root of the process that listens, which may not be ours."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(engine_socket)
            raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            root = Path(f"/proc/{struct.unpack('3i', raw)[0]}/root")
            yield root / folder.lstrip("/")
            if not root.samefile("/"):
                return
    except (OSError, AttributeError):
        # No such option on this system, or not for this user: then by the name alone.
        pass
    yield Path(folder)
