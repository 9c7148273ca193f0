"""What `flyte run` takes longer with flytebuild's hook, when there is nothing to build.

    python -m benchmarks.prestep [--rounds 10] [--here] [--json]

Whole processes, in turns: `flyte run` of a trivial task, whose closure has three environments with an image each, from
its start until the run is created. *Without* is the same command in a process that sees nothing of flytebuild, of the
same code with its images written as references, so that flyte has nothing to look up. With *fresh* answers nobody is
asked (`fresh_for_runs`), *asked* asks in every run. All speak to one control plane; a round begins when the run before
it has ended. Seconds by the clock, and of processor time, which other work on the
machine changes less.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx

from benchmarks.runtime.__main__ import machine
from benchmarks.runtime.place import Place, control_plane

TARGET_MS = 100
BUILT = """\
debian = flyte.Image.from_debian_base(python_version=(3, 11))
images = [debian.with_env_vars({"LEVEL": str(level)}) for level in range(3)]
"""
MAIN = """\
import flyte

{images}
low = flyte.TaskEnvironment("low", image=images[0])
middle = flyte.TaskEnvironment("middle", image=images[1], depends_on=[low])
top = flyte.TaskEnvironment("top", image=images[2], depends_on=[middle])


@top.task
def main(x: int) -> int:
    return x
"""
BARE = """\
import importlib.metadata
import flyte._utils.entry_points as found

installed = found._installed_entry_points


class Without:
    def select(self, group):
        kept = (point for point in installed().select(group=group) if not point.value.startswith("flytebuild"))
        return importlib.metadata.EntryPoints(kept)


found._installed_entry_points = Without
from flyte.cli.main import main

main()
"""
WITH = "from flyte.cli.main import main\n\nmain()\n"


@dataclass
class Side:
    """`flyte run`, one way: its folder, its program, and what each round took, in seconds."""

    folder: Path
    program: str
    fresh_for_runs: int = 0
    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def run(self, environ: dict[str, str]) -> None:
        """One round. Raises CalledProcessError with what it said."""
        environ = {**environ, "FLYTEBUILD_FRESH_FOR_RUNS": str(self.fresh_for_runs)}
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [sys.executable, "-c", self.program, "run", "main.py", "main", "--x", "1"]
        subprocess.run(command, cwd=self.folder, env=environ, capture_output=True, text=True, check=True, timeout=120)
        self.wall.append(time.perf_counter() - begun)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def measure(place: Place, folder: Path, rounds: int) -> dict[str, Side]:
    """All sides, each once to warm up, and then in turns."""
    environ = {**os.environ, "FLYTEBUILD_HOME": str(place.plane.home), "FLYTEBUILD_PORT": place.port}
    # An interpreter that keeps no bytecode compiles all modules in each process.
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    asked, fresh = Side(folder / "with", WITH), Side(folder / "with", WITH, 86_400)
    without = Side(folder / "without", BARE)
    references = _write(asked.folder, BUILT, environ)
    _write(without.folder, f"images = {references!r}\n", environ)
    config = without.folder / ".flyte" / "config.yaml"
    config.write_text(config.read_text().replace("image:\n  builder: flytebuild\n", ""))
    for number in range(rounds + 1):
        for side in (asked, fresh, without):
            side.run(environ)
            _wait(place)
            if not number:
                side.wall.clear()
                side.processor.clear()
    return {"without": without, "fresh": fresh, "asked": asked}


def _write(folder: Path, images: str, environ: dict[str, str]) -> list[str]:
    """A project whose images are there; returns their references."""
    folder.mkdir()
    (folder / "main.py").write_text(MAIN.format(images=images))
    program = str(Path(sys.executable).with_name("flytebuild"))
    for command in (("up",), ("build", "main.py")):
        subprocess.run([program, *command], cwd=folder, env=environ, check=True, capture_output=True)
    said = subprocess.run([program, "plan", "--json"], cwd=folder, env=environ, check=True, capture_output=True)
    return [item["image"] for item in json.loads(said.stdout)["environments"]]


def _wait(place: Place) -> None:
    """Until no run is in progress."""
    while httpx.get(f"{place.plane.endpoint}/healthz", trust_env=False).json()["runs_in_progress"]:
        time.sleep(0.1)


def main() -> None:
    """Measure and print."""
    options = _options()
    with contextlib.ExitStack() as stack:
        if not options.here:
            stack.enter_context(machine(options.state.resolve()))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flytebuild-bench-")))
        place = stack.enter_context(control_plane(folder / "home"))
        sides = measure(place, folder, options.rounds)
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    if options.json:
        told = {name: asdict(side) for name, side in sides.items()}
        print(json.dumps({"load": load, "cores": os.cpu_count(), **told}, indent=2, default=str))
        return
    print(f"{'median of':24} {'without':>10} {'with':>10} {'more':>10} {'ratio':>8}   target {TARGET_MS} ms")
    for name in ("wall", "processor"):
        bare = statistics.median(getattr(sides["without"], name))
        for kind in ("fresh", "asked"):
            ours = statistics.median(getattr(sides[kind], name))
            what = f"{name}, {kind}"
            print(f"{what:24} {bare:8.3f} s {ours:8.3f} s {(ours - bare) * 1000:7.0f} ms {ours / bare:7.2f}x")
    print(f"{options.rounds} rounds in turns, {os.cpu_count()} cores, load {load}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prestep", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--state", type=Path, default=Path("build/bench-prestep"), help="the folder of the machine")
    parser.add_argument("--here", action="store_true", help="on the engine and registry that the environment names")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args()


if __name__ == "__main__":
    main()
