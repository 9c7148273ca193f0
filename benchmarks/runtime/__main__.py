"""Runs, cold and warm, beside what they cannot be faster than: `python -m benchmarks.runtime --help`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.builds.place import down, up
from benchmarks.runtime.cases import CASES, Row
from benchmarks.runtime.place import control_plane


def main() -> None:
    """Bring up the machine, measure, print."""
    options = _options()
    rows: dict[str, Row] = {}
    with contextlib.ExitStack() as stack:
        if not options.here:
            stack.enter_context(machine(options.state.resolve()))
        _measure(options, rows)
    _print(options, rows)


@contextlib.contextmanager
def machine(state: Path) -> Iterator[None]:
    """An engine and a registry of our own, named by the environment while they are there."""
    machine = up(state, "uv,flyte3.11")
    try:
        os.environ |= {"DOCKER_HOST": machine["docker_host"], "FLYTEBUILD_REGISTRY": machine["registry"]}
        os.environ["FLYTEBUILD_MIRRORS"] = ",".join(f"{name}={to}" for name, to in machine["mirrors"].items())
        yield
    finally:
        down(state)
        shutil.rmtree(state, ignore_errors=True)


def _measure(options: argparse.Namespace, rows: dict[str, Row]) -> None:
    with tempfile.TemporaryDirectory(prefix="flytebuild-bench-") as folder, control_plane(Path(folder)) as place:
        for name in options.case or CASES:
            act = CASES[name](place, rows)
            for _ in range(options.repeat):
                act()


def _print(options: argparse.Namespace, rows: dict[str, Row]) -> None:
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    if options.json:
        found = {row.name: {"median": row.median, "unit": row.unit, "values": row.values} for row in rows.values()}
        print(json.dumps({"load": load, "cores": os.cpu_count(), "cases": found}, indent=2))
        return
    print(f"\n{'':40} {'median':>10} {'least':>10} {'most':>10}")
    for row in rows.values():
        low, high = min(row.values), max(row.values)
        print(f"{row.name:40} {row.median:10.3f} {low:10.3f} {high:10.3f} {row.unit}")
    print(f"\n{options.repeat} rounds, {os.cpu_count()} cores, load {load}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.runtime", description=__doc__)
    parser.add_argument("--case", action="append", default=[], choices=CASES, help="only this one; several times")
    parser.add_argument("--repeat", type=int, default=5, help="rounds; their median counts")
    parser.add_argument("--state", type=Path, default=Path("build/bench-runtime"), help="the folder of the machine")
    parser.add_argument("--here", action="store_true", help="on the engine and registry that the environment names")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args()


if __name__ == "__main__":
    main()
