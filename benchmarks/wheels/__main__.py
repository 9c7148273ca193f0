"""Wheel layers beside the same packages installed step by step: `python -m benchmarks.wheels --help`."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.builds.place import bring_up, take_down
from benchmarks.wheels.scenario import RECIPES, Measured, Recipe, Round

CASES = {
    "cold": ("heavy packages, an empty engine", 1 / 1.05),
    "top": ("a light package on top", 1.0),
    "list": ("a light package added to the heavy list", 12.0),
    "below": ("a light package below the heavy ones changed", 12.0),
    "base": ("the base moved", 20.0),
    "second": ("a second machine, and a light package on top", 2.5),
    "eight": ("eight images that share the heavy ones, an empty engine", 6.0),
}
"""What each case is, and how many times faster wheel layers are meant to be."""

Results = dict[str, dict[Recipe, list[Measured]]]


def main() -> None:
    """Bring up the machines, measure, print."""
    options = _options()
    place = bring_up(options.state.resolve(), "uv,uv3.11,flyte3.11")
    results: Results = {name: {recipe: [] for recipe in RECIPES} for name in CASES}
    try:
        for number in range(options.repeat):
            # Each first in every second round: what the machine does besides hits both.
            for recipe in RECIPES if number % 2 == 0 else reversed(RECIPES):
                with tempfile.TemporaryDirectory(prefix="flytebuild-bench-") as folder:
                    for name, measured in Round(place, recipe, Path(folder)).scenario():
                        print(f"  {name}: {recipe} {measured.seconds:.2f} s, {measured.sent / 1e6:.1f} MB", flush=True)
                        results[name][recipe].append(measured)
    finally:
        if not options.keep:
            take_down(options.state.resolve())
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    rows = {name: _row(found, CASES[name][1]) for name, found in results.items()}
    if options.json:
        print(json.dumps({"load": load, "cores": os.cpu_count(), "cases": rows}, indent=2))
        return
    print(f"{'':58} {'steps':>10} {'layers':>10} {'faster':>7} {'target':>7}  sent by steps, layers")
    for name, row in rows.items():
        print(
            f"{CASES[name][0]:58} {row['steps']:8.2f} s {row['layers']:8.2f} s {row['ratio']:6.1f}x "
            f"{row['target']:6.1f}x  {row['steps_sent'] / 1e6:.1f} MB, {row['layers_sent'] / 1e6:.1f} MB"
        )
    print(f"\nmedians of {options.repeat} interleaved runs, {os.cpu_count()} cores, load {load}")


def _row(found: dict[Recipe, list[Measured]], target: float) -> dict[str, float]:
    steps, layers = _seconds(found["steps"]), _seconds(found["layers"])
    return {
        "steps": steps,
        "layers": layers,
        "ratio": steps / layers,
        "target": target,
        "steps_sent": statistics.median(item.sent for item in found["steps"]),
        "layers_sent": statistics.median(item.sent for item in found["layers"]),
        "steps_fetched": statistics.median(item.fetched for item in found["steps"]),
        "layers_fetched": statistics.median(item.fetched for item in found["layers"]),
    }


def _seconds(measured: Sequence[Measured]) -> float:
    return statistics.median(item.seconds for item in measured)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wheels", description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each recipe; their median counts")
    parser.add_argument("--state", type=Path, default=Path("build/bench-wheels"), help="the folder of the two machines")
    parser.add_argument("--keep", action="store_true", help="leave the machines up for the next time")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args()


main()
