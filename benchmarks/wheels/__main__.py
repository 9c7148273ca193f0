"""Wheel layers beside the same packages installed step by step, and beside flyte's own local builder.

`python -m benchmarks.wheels --help`
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.builds.place import Place, bring_up, take_down
from benchmarks.wheels.index import fetch, serving
from benchmarks.wheels.scenario import RECIPES, SMALLER, TORCH, Measured, Packages, Recipe, Round

CASES = {
    "cold": ("heavy packages, an empty engine", 1 / 1.05),
    "top": ("a light package on top", 1.0),
    "list": ("a light package added to the heavy list", 12.0),
    "below": ("a light package below the heavy ones changed", 12.0),
    "base": ("the base moved", 20.0),
    "second": ("a second machine, and a light package on top", 2.5),
    "eight": ("eight images that share the heavy ones, an empty engine", 6.0),
}
"""What each case is, and how many times faster than steps wheel layers are meant to be."""

BESIDE_FLYTE = ("cold", "list", "below")
"""Cases that flyte's builder has as well. It does not see that a base moved: its tags are made of the base's name."""

Results = dict[str, dict[Recipe, list[Measured]]]


def main() -> None:
    """Bring up the machines, measure, print."""
    options = _options()
    place = bring_up(options.state.resolve(), "uv,uv3.11,flyte3.11")
    try:
        with _packages(place, options.wheels or options.state.resolve() / "wheels") as packages:
            results = _measure(place, packages, options)
    finally:
        if not options.keep:
            take_down(options.state.resolve())
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    rows = {name: _row(found, CASES[name][1]) for name, found in results.items()}
    if options.json:
        document = {"load": load, "cores": os.cpu_count(), "heavy": packages.heavy, "cases": rows}
        print(json.dumps(document, indent=2))
        return
    print(f"{'':56} {'flyte':>9} {'steps':>9} {'layers':>9} {'faster':>7} {'target':>7}  steps sent (fetched), layers")
    for name, row in rows.items():
        times = " ".join(_shown(row[recipe], "8.2f", " s") for recipe in ("flyte", "steps", "layers"))
        sent = ", ".join(_moved(row, recipe) for recipe in ("steps", "layers"))
        print(f"{CASES[name][0]:56} {times} {_shown(row['ratio'], '6.1f', 'x')} {row['target']:6.1f}x  {sent}")
    print(f"\n{', '.join(packages.heavy)}; {SMALLER.partition('==')[0]} stands in where {TORCH} is not to be had")
    print(f"medians of {options.repeat} interleaved runs, {os.cpu_count()} cores, load {load}")


@contextmanager
def _packages(place: Place, wheels: Path) -> Iterator[Packages]:
    """The heavy packages: with PyTorch where its wheel is in the folder, or pip finds it on this machine."""
    if not fetch(TORCH, wheels):
        print(f"  {TORCH} is not to be had here; {SMALLER} is taken instead", file=sys.stderr, flush=True)
        yield Packages(SMALLER)
        return
    # Steps are in containers, for which this machine is where their bridge ends.
    address = place.first.gateway()
    with (
        tempfile.TemporaryDirectory(prefix="flytebuild-bench-") as folder,
        serving(wheels, Path(folder), address) as url,
    ):
        yield Packages(TORCH, url)


def _measure(place: Place, packages: Packages, options: argparse.Namespace) -> Results:
    chosen = options.case or list(CASES)
    results: Results = {name: {recipe: [] for recipe in RECIPES} for name in CASES if name in chosen}
    for number in range(options.repeat):
        # Each first in every second round: what the machine does besides hits both.
        recipes = options.recipe or RECIPES
        for recipe in recipes if number % 2 == 0 else reversed(recipes):
            names = [name for name in chosen if recipe != "flyte" or name in BESIDE_FLYTE]
            with tempfile.TemporaryDirectory(prefix="flytebuild-bench-") as folder:
                for name, measured in Round(place, recipe, Path(folder), packages).scenario(names):
                    told = f"  {name}: {recipe} {measured.seconds:.2f} s, {measured.sent / 1e6:.1f} MB"
                    print(told, file=sys.stderr, flush=True)
                    results[name][recipe].append(measured)
    return results


def _row(found: dict[Recipe, list[Measured]], target: float) -> dict[str, Any]:
    seconds = {recipe: _median(item.seconds for item in found[recipe]) for recipe in RECIPES}
    steps, layers = seconds["steps"], seconds["layers"]
    return {
        **{str(recipe): median for recipe, median in seconds.items()},
        "ratio": steps / layers if steps and layers else None,
        "target": target,
        **{f"{recipe}_sent": _median(item.sent for item in found[recipe]) for recipe in RECIPES},
        **{f"{recipe}_fetched": _median(item.fetched for item in found[recipe]) for recipe in RECIPES},
    }


def _median(numbers: Iterator[float]) -> float | None:
    known = list(numbers)
    return statistics.median(known) if known else None


def _moved(row: dict[str, Any], recipe: Recipe) -> str:
    """What the registry was sent, and what it gave."""
    return f"{_shown(row[f'{recipe}_sent'], '.1f', ' MB')} ({_shown(row[f'{recipe}_fetched'], '.1f', ' MB')})"


def _shown(number: float | None, form: str, unit: str) -> str:
    """A number with its unit; as much space where there is none."""
    if number is None:
        return " " * len(f"{0:{form}}{unit}")
    return f"{number / 1e6 if unit == ' MB' else number:{form}}{unit}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wheels", description=__doc__)
    parser.add_argument(
        "--case", action="append", choices=CASES, default=[], help="only this one; may be given several times"
    )
    parser.add_argument(
        "--recipe", action="append", choices=RECIPES, default=[], help="only this one; may be given several times"
    )
    parser.add_argument("--wheels", type=Path, help=f"a folder that has the wheel of {TORCH}, or will have it")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each recipe; their median counts")
    parser.add_argument("--state", type=Path, default=Path("build/bench-wheels"), help="the folder of the two machines")
    parser.add_argument("--keep", action="store_true", help="leave the machines up for the next time")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args()


main()
