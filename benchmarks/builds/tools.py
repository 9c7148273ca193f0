"""The two builders, each as a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from benchmarks.builds.place import Engine, Place

Tool: TypeAlias = Literal["flyte", "flytebuild"]
TOOLS: tuple[Tool, ...] = ("flyte", "flytebuild")


@dataclass(frozen=True)
class Measured:
    """Wall time of the whole process, the most memory that it had, and what the registry gave it and the engine.

    `fetched` are bytes of layers and configs, without manifests; `inner` is the part of the time after its imports,
    where the process tells it.
    """

    seconds: float
    memory_mib: float
    fetched: int
    inner: float = 0.0


@dataclass(frozen=True)
class Setting:
    """Where one tool works in one round: what it remembers lies in `home`, and is nobody else's."""

    place: Place
    home: Path
    repository: str
    bases: Mapping[str, str]

    def run(self, tool: Tool, project: Path, engine: Engine, *, cache: bool = False, driver: bool = False) -> Measured:
        """Build the project's images; with `cache` the tool shares one remote cache in the registry.

        With `driver` both are called from Python, and tell the time without their imports.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        environ = self._environ(engine) | (
            self._flyte(cache=cache) if tool == "flyte" else self._flytebuild(cache=cache)
        )
        if tool == "flytebuild" and not driver:
            command = [str(Path(sys.executable).with_name("flytebuild")), "build", "main.py"]
        else:
            command = [sys.executable, str(Path(__file__).with_name(f"{tool}_driver.py")), "main.py"]
        served = self.place.blob_bytes()
        before = time.monotonic()
        process = subprocess.Popen(command, cwd=project, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - before
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{tool} failed in {project}:\n{output.decode(errors='replace')[-4000:]}")
        inner = re.search(rb"inner=([0-9.e-]+)", output)
        fetched = self.place.blob_bytes() - served
        return Measured(seconds, usage.ru_maxrss / 1024, fetched, float(inner[1]) if inner else 0.0)

    def _environ(self, engine: Engine) -> dict[str, str]:
        # Nor whatever keeps Python from having its modules compiled: that is part of no builder.
        foreign = ("FLYTE", "UV_", "DOCKER_", "PYTHON")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return {**kept, "HOME": str(self.home), "DOCKER_HOST": engine.host, "BENCH_REGISTRY": self.repository}

    def _flyte(self, *, cache: bool) -> dict[str, str]:
        stand_ins = " ".join(f"--build-context {name}=docker-image://{at}" for name, at in self.bases.items())
        found = {
            "DOCKER_CONFIG": str(self.place.docker_config),
            "FLYTE_DOCKER_BUILDKIT_BUILDER_NAME": "default",
            "FLYTE_DOCKER_BUILD_EXTRA_ARGS": f"--progress plain --provenance=false {stand_ins}",
            "PATH": f"{os.environ['PATH']}:{self.place.docker_config / 'bin'}",
        }
        if cache:
            reference = f"type=registry,ref={self.repository}/cache:1"
            found["FLYTE_DOCKER_BUILDER_CACHE_FROM"] = reference
            found["FLYTE_DOCKER_BUILDER_CACHE_TO"] = f"{reference},mode=max"
        return found

    def _flytebuild(self, *, cache: bool) -> dict[str, str]:
        mirrors = {name.partition("/")[0]: at.partition("/ghcr.io/")[0] + "/ghcr.io" for name, at in self.bases.items()}
        return {
            "FLYTEBUILD_REGISTRY": self.repository,
            "FLYTEBUILD_MIRRORS": ",".join(f"{name}={at}" for name, at in mirrors.items()),
            "FLYTEBUILD_PROGRESS": "plain",
            # flyte has a remote cache only where it is asked for.
            **({} if cache else {"FLYTEBUILD_CACHE": "off"}),
        }
