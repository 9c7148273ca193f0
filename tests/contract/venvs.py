"""Virtual environments with the minors of flyte that the control plane serves, made once and kept."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from tests.conftest import TOP

MINORS = tuple(f"2.{number}" for number in range(3, 13))
"""From the first one whose protocol is served whole to the one that flytebuild is written with."""

KEPT = Path(os.environ.get("FLYTE_VENVS") or TOP / "build/flyte")


def python_of(minor: str) -> Path:
    """The Python that has this minor of flyte, its newest patch: our own, or one that is made now."""
    if version("flyte").startswith(f"{minor}."):
        return Path(sys.executable)
    folder = KEPT / f"{minor}-py{sys.version_info.major}.{sys.version_info.minor}"
    python, is_ready = folder / "bin/python", folder / ".ready"
    if not is_ready.exists():
        _uv("venv", "--clear", "--python", sys.executable, str(folder))
        # They say themselves that they fit every later connectrpc, which they do not.
        _uv("pip", "install", "--python", str(python), f"flyte=={minor}.*", "connectrpc<0.11")
        is_ready.touch()
    return python


def _uv(*arguments: str) -> None:
    command = [str(Path(sys.executable).with_name("uv")), "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"`{' '.join(command)}` failed: {done.stderr}"
