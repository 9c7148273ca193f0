"""What happens to a project, one thing after the other: each build is measured, what comes before it is not.

The project is the same for all recipes, and so is the lock of those that have one, which is made anew wherever packages
changed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from benchmarks.builds.place import Engine, Place
from benchmarks.builds.tools import Setting

Recipe: TypeAlias = Literal["layers", "steps", "flyte"]
RECIPES: tuple[Recipe, ...] = ("layers", "steps", "flyte")
"""flytebuild with and without wheel layers, and flyte's own local builder."""

TORCH = "torch==2.13.0+cpu"
"""From an index of its own, as PyTorch's without CUDA are."""

SMALLER = "tensorflow-cpu==2.19.0"
"""What PyPI has of that kind."""

LIGHT = (
    *("tabulate==0.9.0", "wrapt==1.17.3", "xmltodict==1.0.2", "humanize==4.14.0"),
    *("termcolor==3.1.0", "colorama==0.4.6", "texttable==1.7.0", "pluggy==1.6.0"),
)
"""None of them is in Flyte's image."""

HEAD = """import os
import flyte

def image(name, *layers):
    made = flyte.Image.from_debian_base(
        python_version=(3, 11), name=name, registry=os.environ.get("BENCH_REGISTRY"), platform=("linux/amd64",))
    for layer in layers:
        made = made.with_pip_packages(*layer, extra_index_urls={indexes})
    return made

"""

Images: TypeAlias = dict[str, list[tuple[str, ...]]]
"""The packages of each layer, by the environment's name."""


@dataclass(frozen=True)
class Packages:
    """The one heavy package that makes the difference, and the index that has it, if that is not PyPI."""

    heaviest: str
    index: str = ""

    @property
    def heavy(self) -> tuple[str, ...]:
        return ("numpy==2.2.6", "pandas==2.3.3", "scikit-learn==1.7.2", "pyarrow==21.0.0", self.heaviest)

    @property
    def shared(self) -> tuple[str, ...]:
        return ("pandas==2.3.3", self.heaviest)


@dataclass(frozen=True)
class Measured:
    """Wall time of a build, what the registry was sent of layers, and what it gave."""

    seconds: float
    sent: int
    fetched: int


@dataclass
class Round:
    """One recipe in one round; the folder and the repository are its own."""

    place: Place
    recipe: Recipe
    folder: Path
    packages: Packages
    repository: str = field(init=False)
    bases: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.repository = self.place.new_repository()
        self.bases = dict(self.place.new_bases())

    def scenario(self, chosen: Collection[str]) -> Iterator[tuple[str, Measured]]:
        """The chosen cases by their names, in the order in which they build on each other."""
        heavy, light = self.packages.heavy, ("tabulate==0.9.0",)
        alone: Images = {"train": [("tabulate==0.8.10",), heavy]}
        below: Images = {"train": [light, heavy]}
        cases: dict[str, tuple[Images, Engine, Callable[[], None] | None]] = {
            "cold": (alone, self.place.first, self.place.first.forget),
            "top": ({"train": [*alone["train"], ("humanize==4.14.0",)]}, self.place.first, None),
            "list": ({"train": [("tabulate==0.8.10",), (*heavy, "tqdm==4.67.1")]}, self.place.first, None),
            "below": (below, self.place.first, None),
            "base": (below, self.place.first, self.move_base),
            "second": (
                # Not the light package of `top`, whose layer is there.
                {"train": [*below["train"], ("texttable==1.7.0",)]},
                self.place.second,
                self.place.second.forget,
            ),
            "eight": (
                {f"env{number}": [(*self.packages.shared, item)] for number, item in enumerate(LIGHT)},
                self.place.first,
                self.begin_anew,
            ),
        }
        needed = set(chosen)
        if needed - {"eight"}:
            needed.add("cold")
        if needed & {"base", "second"}:
            needed.add("below")
        for name in (name for name in cases if name in needed):
            images, engine, before = cases[name]
            if before:
                before()
            measured = self.build(images, engine)
            if name in chosen:
                yield name, measured

    def move_base(self) -> None:
        """Let the base's name lead to one that has a layer more; the image of uv stays."""
        moved = self.place.new_bases(are_moved=True)
        self.bases |= {name: at for name, at in moved.items() if "flyteorg/flyte" in name}

    def begin_anew(self) -> None:
        """Leave nothing of the images before, in the registry either."""
        self.place.first.forget()
        self.repository = self.place.new_repository()

    def build(self, images: Images, engine: Engine) -> Measured:
        """Build a project of these images. Raises RuntimeError where that fails."""
        project = self.folder / "project"
        project.mkdir(parents=True, exist_ok=True)
        lines = [
            f'{name} = flyte.TaskEnvironment("{name}", image=image("{name}", {", ".join(map(repr, layers))}))\n'
            for name, layers in images.items()
        ]
        indexes = [self.packages.index] if self.packages.index else None
        (project / "main.py").write_text(HEAD.format(indexes=indexes) + "".join(lines))
        (project / "flytebuild.lock").unlink(missing_ok=True)
        # A machine of a CI service remembers nothing of its own.
        home = self.folder / ("second" if engine == self.place.second else "first")
        home.mkdir(parents=True, exist_ok=True)
        if self.recipe != "flyte":
            self._run("lock", home, engine)
        sent, fetched = self.place.written_bytes(), self.place.blob_bytes()
        before = time.monotonic()
        if self.recipe == "flyte":
            Setting(self.place, home, self.repository, self.bases).run("flyte", project, engine)
        else:
            self._run("build", home, engine)
        seconds = time.monotonic() - before
        fetched = self.place.blob_bytes() - fetched
        return Measured(seconds, max(0, self.place.written_bytes() - sent - fetched), fetched)

    def _run(self, command: str, home: Path, engine: Engine) -> None:
        foreign = ("FLYTE", "UV_", "DOCKER_", "PYTHON", "PIP_", "XDG_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        moved = {name.rpartition("/")[0]: at.rpartition("/")[0] for name, at in self.bases.items() if "flyte" in name}
        mirrors = {**moved, "ghcr.io": f"{self.place.registry}/ghcr.io"}
        environ = {
            **kept,
            "HOME": str(home),
            "DOCKER_HOST": engine.host,
            "FLYTEBUILD_REGISTRY": self.repository,
            "FLYTEBUILD_MIRRORS": ",".join(f"{name}={at}" for name, at in mirrors.items()),
            "FLYTEBUILD_PROGRESS": "plain",
            "FLYTEBUILD_WHEEL_LAYERS": "auto" if self.recipe == "layers" else "off",
        }
        done = subprocess.run(
            [str(Path(sys.executable).with_name("flytebuild")), command, "main.py"],
            cwd=self.folder / "project",
            env=environ,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"`flytebuild {command}` failed:\n{(done.stdout + done.stderr)[-4000:]}")
