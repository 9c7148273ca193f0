"""Commands as a user gives them, each in a process of its own, where no engine is."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from tests.command import command

_OURS = ("FLYTE", "DOCKER", "BUILDKIT", "XDG_", "NO_COLOR", "FORCE_COLOR", "CI")


@dataclass(frozen=True)
class Call:
    """`flytebuild` with these arguments, in a folder, with more variables than usual."""

    folder: Path
    arguments: Sequence[str]
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Told:
    """What a command said, and the code that it ended with."""

    call: Call
    code: int
    out: str
    err: str

    @property
    def transcript(self) -> str:
        """All of it, as one would see it: first what is data, then what is for people."""
        parts = [f"$ {shlex.join(('flytebuild', *self.call.arguments))}\n"]
        parts += [f"[{name}]\n{text}" for name, text in (("stdout", self.out), ("stderr", self.err)) if text]
        return "".join([*parts, f"[exit code {self.code}]\n"])


def each(calls: Sequence[Call], home: Path) -> list[Told]:
    """The commands one after the other. What they keep of each other is below `home`, and nobody else's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    nowhere = {
        "HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_DATA_HOME": str(home / "data"),
        "DOCKER_HOST": f"unix://{home}/no-engine.sock",
        # Each call sees what is there, and not what one before it has seen.
        "FLYTEBUILD_FRESH": "0",
        "FLYTEBUILD_FRESH_FOR_RUNS": "0",
        "FLYTE_DISABLE_TELEMETRY": "1",
        "COLUMNS": "100",
        "TERM": "xterm-256color",
    }
    return [tell(call, {**kept, **nowhere}) for call in calls]


def tell(call: Call, environ: Mapping[str, str] = MappingProxyType({})) -> Told:
    """Run one command, in this environment with its own variables."""
    done = command(call.arguments, call.folder, {**environ, **call.environ})
    return Told(call, done.returncode, done.stdout, done.stderr)
