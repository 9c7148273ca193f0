"""What is measured: each case makes a project, and says what happens before and between builds."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.builds.place import Place
from benchmarks.builds.tools import TOOLS, Measured, Setting, Tool

EXAMPLE = Path(__file__).parents[2] / "examples/alphafold2"
BASE = 'flyte.Image.from_debian_base(registry=os.environ["BENCH_REGISTRY"], name="{name}", platform=("linux/amd64",))'
HEAD = "import os\n\nimport flyte\n\n"
HEAVY = ("numpy==2.2.6", "pandas==2.3.3", "scipy==1.15.3", "pyarrow==21.0.0")
"""About 300 MB when installed."""

SMALL = (
    *("idna", "certifi", "six", "attrs", "toml", "tabulate", "wrapt", "zipp"),
    *("packaging", "pluggy", "iniconfig", "click", "colorama", "filelock", "platformdirs", "distlib"),
)
"""Small ones without dependencies."""


def environment(name: str, image: str) -> str:
    return f'{name} = flyte.TaskEnvironment(name="{name}", image={BASE.format(name=name)}{image})\n'


@dataclass
class Round:
    """One tool in one round; the folder is its own."""

    place: Place
    tool: Tool
    folder: Path
    setting: Setting = field(init=False)

    def __post_init__(self) -> None:
        self.setting = Setting(self.place, self.folder / "home", self.place.new_repository(), self.place.new_bases())

    @property
    def project(self) -> Path:
        made = self.folder / "project"
        made.mkdir(parents=True, exist_ok=True)
        return made

    def write(self, text: str) -> None:
        (self.project / "main.py").write_text(HEAD + text)

    def build(self, *, second: bool = False, cache: bool = False, driver: bool = False) -> Measured:
        engine = self.place.second if second else self.place.first
        return self.setting.run(self.tool, self.project, engine, cache=cache, driver=driver)

    def forget_state(self) -> None:
        """As on a machine of a CI service: nothing of earlier builds but what is in the registry and the engine."""
        shutil.rmtree(self.setting.home, ignore_errors=True)


AF2 = (
    environment("fold", '.with_pip_packages("{ruff}")')
    + environment("msa", '.with_pip_packages("pytest")')
    + environment("main", '.with_pip_packages("{ruff}").with_pip_packages("pytest")')
)
"""The images of Flyte's multi-environment example."""


def cold(round: Round) -> Measured:
    round.place.first.forget()
    round.write(AF2.replace("{ruff}", "ruff"))
    return round.build()


def unchanged(round: Round) -> Measured:
    round.write(AF2.replace("{ruff}", "ruff"))
    round.build()
    round.forget_state()
    return round.build()


def unchanged_inner(count: int) -> Callable[[Round], Measured]:
    """Without the start of Python and its imports, which are most of the rest."""

    def work(round: Round) -> Measured:
        images = (f'.with_pip_packages("six").with_env_vars({{"NUMBER": "{number}"}})' for number in range(count))
        round.write("".join(environment(f"env{number}", image) for number, image in enumerate(images)))
        round.build()
        round.forget_state()
        found = round.build(driver=True)
        return replace(found, seconds=found.inner)

    return work


def lower_layer(round: Round) -> Measured:
    round.write(AF2.replace("{ruff}", "ruff==0.14.1"))
    round.build()
    round.write(AF2.replace("{ruff}", "ruff==0.14.2"))
    return round.build()


def source_file(round: Round) -> Measured:
    sources = round.project / "src"
    sources.mkdir()
    for number in range(100):
        (sources / f"module{number}.py").write_text(f"value = {number}\n")
    packages = ", ".join(f'"{item}"' for item in HEAVY)
    round.write(environment("train", f'.with_pip_packages({packages}).with_source_folder("src", "/srv/src")'))
    round.build(cache=True)
    round.place.second.forget()
    round.forget_state()
    (sources / "module7.py").write_text("value = 'edited'\n")
    return round.build(second=True, cache=True)


def prefix(count: int) -> Callable[[Round], Measured]:
    """Images that share three layers, each with one package of its own."""

    def work(round: Round) -> Measured:
        round.place.first.forget()
        layers = (
            '.with_pip_packages("httpx").with_env_vars({"A": "1"}).with_pip_packages("rich").with_commands(["echo"])'
        )
        images = (f'{layers}.with_pip_packages("{package}")' for package in SMALL[:count])
        round.write("".join(environment(f"env{number}", image) for number, image in enumerate(images)))
        return round.build()

    return work


def _many_files(round: Round, count: int) -> Path:
    sources = round.project / "src"
    for folder in range(count // 100):
        (sources / f"package{folder}").mkdir(parents=True)
        for number in range(100):
            (sources / f"package{folder}/module{number}.py").write_text(f"value = {folder * 100 + number}\n" * 200)
    round.write(environment("many", '.with_source_folder("src", "/srv/src")'))
    return sources


def many_files_cold(count: int) -> Callable[[Round], Measured]:
    def work(round: Round) -> Measured:
        _many_files(round, count)
        return round.build()

    return work


def many_files_edited(count: int) -> Callable[[Round], Measured]:
    def work(round: Round) -> Measured:
        sources = _many_files(round, count)
        round.build()
        (sources / "package0/module0.py").write_text("value = 'edited'\n")
        return round.build()

    return work


@dataclass(frozen=True)
class Case:
    """A measurement with its target: our wall time as a part of flyte's; `tools` are those that are measured."""

    name: str
    work: Callable[[Round], Measured]
    target: float | None = None
    tools: tuple[Tool, ...] = TOOLS


def cases(files: int, images: int) -> dict[str, Case]:
    """All cases, by the names that the command line has for them."""
    return {
        "cold": Case("three images, cold, pushed", cold, 0.5),
        "unchanged": Case("nothing changed, fresh state", unchanged, 0.2),
        "unchanged-inner": Case("  the same without imports, three images", unchanged_inner(3), 0.2),
        "unchanged-16": Case("  the same without imports, 16 images", unchanged_inner(16), 0.2),
        "lower": Case("one package changed in a lower layer", lower_layer, 0.5),
        "source": Case("one source file, second machine, remote cache", source_file, 0.1),
        "prefix": Case(f"{images} images with a common prefix", prefix(images), 0.4),
        "prefix-one": Case("one of them: the critical path", prefix(1), tools=("flytebuild",)),
        "files": Case(f"{files} files, cold", many_files_cold(files), 0.3),
        "files-edited": Case(f"{files} files, one edited", many_files_edited(files), 0.3),
    }


def median(values: list[Measured]) -> float:
    return statistics.median(item.seconds for item in values)
