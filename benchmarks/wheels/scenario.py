"""What happens to a project, one thing after the other: each build is measured, what comes before it is not.

The project is the same for both recipes and so is its lock, which is made anew wherever packages changed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from benchmarks.builds.place import Engine, Place

Recipe: TypeAlias = Literal["layers", "steps"]
RECIPES: tuple[Recipe, ...] = ("layers", "steps")

HEAVY = ("numpy==2.2.6", "pandas==2.3.3", "scipy==1.15.3", "scikit-learn==1.7.2", "pyarrow==21.0.0")
"""About 130 MB as wheels, 500 MB when installed."""

SHARED = ("pandas==2.3.3", "pyarrow==21.0.0")
LIGHT = (
    *("tabulate==0.9.0", "wrapt==1.17.3", "xmltodict==1.0.2", "humanize==4.14.0"),
    *("termcolor==3.1.0", "colorama==0.4.6", "texttable==1.7.0", "pluggy==1.6.0"),
)
"""None of them is in Flyte's image."""
HEAD = """import flyte

def image(name, *layers):
    made = flyte.Image.from_debian_base(python_version=(3, 11), name=name, platform=("linux/amd64",))
    for layer in layers:
        made = made.with_pip_packages(*layer)
    return made

"""


@dataclass(frozen=True)
class Measured:
    """Wall time of `flytebuild build`, what the registry was sent of layers, and what it gave."""

    seconds: float
    sent: int
    fetched: int


@dataclass
class Round:
    """One recipe in one round; the folder and the repository are its own."""

    place: Place
    recipe: Recipe
    folder: Path
    repository: str = field(init=False)
    mirrors: str = field(init=False)

    def __post_init__(self) -> None:
        self.repository = self.place.new_repository()
        self.mirrors = f"ghcr.io={self.place.registry}/ghcr.io"

    def scenario(self) -> Iterator[tuple[str, Measured]]:
        """Every case by its name, in the order in which they build on each other."""
        self.place.first.forget()
        alone = [("tabulate==0.8.10",), HEAVY]
        yield "cold", self.build({"train": alone})
        yield "top", self.build({"train": [*alone, ("humanize==4.14.0",)]})
        yield "list", self.build({"train": [alone[0], (*HEAVY, "tqdm==4.67.1")]})
        yield "below", self.build({"train": [("tabulate==0.9.0",), HEAVY]})
        self.move_base()
        yield "base", self.build({"train": [("tabulate==0.9.0",), HEAVY]})
        self.place.second.forget()
        added = {"train": [("tabulate==0.9.0",), HEAVY, ("humanize==4.14.0",)]}
        yield "second", self.build(added, self.place.second)
        self.place.first.forget()
        # Nothing of the images before them, in the registry either.
        self.repository = self.place.new_repository()
        yield "eight", self.build({f"env{number}": [(*SHARED, light)] for number, light in enumerate(LIGHT)})

    def move_base(self) -> None:
        """Let the base's name lead to another digest; its layers stay, and so does the image of uv."""
        moved = next(at for name, at in self.place.new_bases().items() if "flyteorg/flyte" in name)
        place = moved.rpartition("/")[0]
        self.mirrors = f"ghcr.io/flyteorg={place},ghcr.io={self.place.registry}/ghcr.io"

    def build(self, images: dict[str, list[tuple[str, ...]]], engine: Engine | None = None) -> Measured:
        project = self.folder / "project"
        project.mkdir(parents=True, exist_ok=True)
        lines = [
            f'{name} = flyte.TaskEnvironment("{name}", image=image("{name}", {", ".join(map(repr, layers))}))\n'
            for name, layers in images.items()
        ]
        (project / "main.py").write_text(HEAD + "".join(lines))
        (project / "flytebuild.lock").unlink(missing_ok=True)
        self._run("lock", engine or self.place.first)
        sent, fetched = self.place.written_bytes(), self.place.blob_bytes()
        before = time.monotonic()
        self._run("build", engine or self.place.first)
        seconds = time.monotonic() - before
        fetched = self.place.blob_bytes() - fetched
        return Measured(seconds, max(0, self.place.written_bytes() - sent - fetched), fetched)

    def _run(self, command: str, engine: Engine) -> None:
        foreign = ("FLYTE", "UV_", "DOCKER_", "PYTHON", "PIP_", "XDG_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        environ = {
            **kept,
            # A machine of a CI service remembers nothing of its own.
            "HOME": str(self.folder / ("second" if engine == self.place.second else "first")),
            "DOCKER_HOST": engine.host,
            "FLYTEBUILD_REGISTRY": self.repository,
            "FLYTEBUILD_MIRRORS": self.mirrors,
            "FLYTEBUILD_PROGRESS": "plain",
            "FLYTEBUILD_WHEEL_LAYERS": "auto" if self.recipe == "layers" else "off",
        }
        Path(environ["HOME"]).mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [str(Path(sys.executable).with_name("flytebuild")), command, "main.py"],
            cwd=self.folder / "project",
            env=environ,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"`flytebuild {command}` failed:\n{(done.stdout + done.stderr)[-4000:]}")
