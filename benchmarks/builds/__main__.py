"""Builds, beside flyte's own local builder on the same engine and registry: `python -m benchmarks.builds --help`."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

from benchmarks.builds.cases import Case, Round, cases, median
from benchmarks.builds.place import Place, bring_up, take_down
from benchmarks.builds.tools import Measured, Tool


def main() -> None:
    """Bring up the machines, measure, print."""
    options = _options()
    known = cases(options.files, options.images)
    chosen = {name: known[name] for name in (options.case or known)}
    folder = options.state.resolve()
    place = bring_up(folder)
    try:
        results = {name: _measure(case, place, options.repeat) for name, case in chosen.items()}
    finally:
        if not options.keep:
            take_down(folder)
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    if options.json:
        print(json.dumps({"load": load, "cores": os.cpu_count(), "cases": _document(chosen, results)}, indent=2))
        return
    print(f"{'':48} {'flyte':>9} {'flytebuild':>11} {'ratio':>7} {'target':>7} {'memory':>9} {'fetched':>10}")
    for name, row in _document(chosen, results).items():
        flyte = f"{row['flyte']:7.2f} s" if row["flyte"] else ""
        ratio = f"{row['ratio']:.2f}" if row["ratio"] else ""
        target = f"{row['target']:.1f}" if row["target"] else ""
        print(
            f"{chosen[name].name:48} {flyte:>9} {row['flytebuild']:9.2f} s {ratio:>7} {target:>7} "
            f"{row['memory_mib']:5.0f} MiB {(row['fetched'] or 0) / 1e6:7.2f} MB"
        )
    print(f"\nmedians of {options.repeat} interleaved runs, {os.cpu_count()} cores, load {load}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.builds", description=__doc__)
    parser.add_argument(
        "--case", action="append", default=[], metavar="NAME", help="only this one; may be given several times"
    )
    parser.add_argument("--repeat", type=int, default=5, help="runs of each tool; their median counts")
    parser.add_argument("--files", type=int, default=50_000, help="files in the source folder")
    parser.add_argument("--images", type=int, default=16, help="images with a common prefix")
    parser.add_argument("--state", type=Path, default=Path("build/bench"), help="the folder of the two machines")
    parser.add_argument("--keep", action="store_true", help="leave the machines up for the next time")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args()


def _measure(case: Case, place: Place, repeat: int) -> dict[Tool, list[Measured]]:
    found: dict[Tool, list[Measured]] = {tool: [] for tool in case.tools}
    for number in range(repeat):
        # One tool after the other, each first in every second round: what the machine does besides hits both.
        for tool in case.tools if number % 2 == 0 else reversed(case.tools):
            with tempfile.TemporaryDirectory(prefix="flytebuild-bench-") as folder:
                measured = case.work(Round(place, tool, Path(folder)))
            print(f"  {case.name}: {tool} {measured.seconds:.2f} s", flush=True)
            found[tool].append(measured)
    return found


def _document(
    chosen: dict[str, Case], results: dict[str, dict[Tool, list[Measured]]]
) -> dict[str, dict[str, float | None]]:
    rows: dict[str, dict[str, float | None]] = {}
    for name, found in results.items():
        ours = median(found["flytebuild"])
        theirs = median(found["flyte"]) if found.get("flyte") else None
        rows[name] = {
            "flyte": theirs,
            "flytebuild": ours,
            "ratio": ours / theirs if theirs else None,
            "target": chosen[name].target,
            "memory_mib": max(item.memory_mib for item in found["flytebuild"]),
            "fetched": max(item.fetched for item in found["flytebuild"]),
        }
    return rows


main()
