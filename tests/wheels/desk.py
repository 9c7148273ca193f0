"""Where images are locked and installed for real, from one index."""

from __future__ import annotations

import asyncio
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path

from msgspec.structs import replace

from flytebuild.events import Event
from flytebuild.spec.layers import PipOptions, PipPackages, Requirements, UvProject
from flytebuild.spec.model import HostFolder, ImageSpec
from flytebuild.wheels.base import Base
from flytebuild.wheels.lock import Lock
from flytebuild.wheels.metadata import MetadataReader
from flytebuild.wheels.resolver import Moves, Resolver
from flytebuild.wheels.uv import Uv
from tests.samples import AMD64, made_of
from tests.wheels.index import PASSWORD, Index
from tests.wheels.memory import Memory

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
HERE = Base(platform.python_version(), (platform.python_version(),), (2, 28))
UV = Path(sys.executable).with_name("uv")


@dataclass
class Desk:
    """Resolves and installs from one index, with a cache of uv's own."""

    index: Index
    folder: Path
    memory: Memory = field(default_factory=Memory)
    more: Mapping[str, str] = field(default_factory=dict)
    told: list[Event] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        # What a user's configuration says must change nothing.
        return {
            **kept,
            "UV_CACHE_DIR": str(self.folder / "cache"),
            "UV_RESOLUTION": "lowest",
            "PIP_PRE": "1",
            **self.more,
        }

    def layer(self, *requirements: str, **options: object) -> PipPackages:
        return PipPackages(requirements, PipOptions(**{"index_url": self.index.url, **options}))  # type: ignore[arg-type]

    def lock(
        self,
        *layers: PipPackages | Requirements | UvProject,
        base: Base = HERE,
        before: Lock | None = None,
        moves: Moves | None = None,
        secrets: Mapping[str, str] | None = None,
        roots: Mapping[str, HostFolder] | None = None,
    ) -> Lock:
        spec = replace(made_of(*layers, python=MINOR), roots=roots or {})

        async def of(_: ImageSpec) -> Base:
            return base

        resolver = Resolver(
            Uv(self.environ),
            MetadataReader(self.memory),
            of,
            lambda _, __: secrets or {},
            lambda text: text.replace(PASSWORD, "***"),
            before or Lock(),
            moves or Moves(),
            self.told.append,
        )
        found, unlocked = asyncio.run(resolver.layers({"env": {AMD64: spec}}))
        return Lock("", (), found, unlocked)

    def versions(self, lock: Lock, layers: Sequence[PipPackages | UvProject]) -> dict[str, str]:
        """What is installed once all layers are there; they are told apart by what they ask."""
        by_summary = {layer.asked: layer.pins for layer in lock.layers}
        return {pin.name: pin.version for layer in layers for pin in by_summary[layer.summary]}

    def install(
        self, layers: Sequence[PipPackages | UvProject], roots: Mapping[str, HostFolder] | None = None
    ) -> dict[str, str]:
        """The same by real installations, one after the other."""
        venv = self.folder / f"venv-{len(list(self.folder.iterdir()))}"
        environ = {name: value for name, value in self.environ.items() if name != "UV_RESOLUTION"}
        self.run(["venv", "--no-config", "--python", sys.executable, str(venv)], environ)
        for layer in layers:
            options = layer.options
            if isinstance(layer, UvProject):
                sync = ["sync", "--active", "--inexact", "--locked", "--no-editable", "--no-install-project"]
                given = {word for word in shlex.split(options.extra_args) if word in sync or word == "--frozen"}
                sync = [word for word in sync if word not in given and not (word == "--locked" and "--frozen" in given)]
                project = [*sync, "--project", (roots or {})[layer.tree.digest].root, *shlex.split(options.extra_args)]
                self.run(project, {**environ, "VIRTUAL_ENV": str(venv)})
                continue
            command = ["pip", "install", "--python", str(venv / "bin/python"), "--index-url", options.index_url]
            command += [word for url in options.extra_index_urls for word in ("--extra-index-url", url)]
            command += ["--pre"] if options.pre else []
            self.run([*command, "--no-config", *shlex.split(options.extra_args), *layer.requirements], environ)
        paths = [str(path) for path in venv.glob("lib/python*/site-packages")]
        return {item.name.replace("_", "-"): item.version for item in distributions(path=paths)}

    def run(self, command: list[str], environ: Mapping[str, str]) -> None:
        """What uv does; settings of the user's are not there."""
        settings = {"XDG_CONFIG_HOME": str(self.folder / "none"), "XDG_CONFIG_DIRS": str(self.folder / "none")}
        subprocess.run([UV, *command, "--quiet"], env={**environ, **settings}, check=True, timeout=120)
