"""How long the walk over `depends_on` takes, beside flyte's own (`plan_deploy`).

    python -m benchmarks.walk [--rounds 5] [--json]

Real `flyte.TaskEnvironment`s. A diamond chain of depth n is n levels of two environments that both depend on both of
the next level: 2n environments, 4n edges, 2^n ways from the first to the last. flyte follows every way; where it would
take more than `--limit` seconds, told by the depth before, its side is left out. The large graph is ours alone: flyte
would not come to its end.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import flyte
from flyte._deploy import plan_deploy

from flytebuild.authoring.environments import Definitions

DEPTHS = range(4, 25, 2)


def diamonds(depth: int) -> flyte.Environment:
    """The first environment of a chain."""
    below: list[flyte.Environment] = []
    for level in range(depth):
        below = [
            flyte.TaskEnvironment(name=f"d{depth}-{level}-{side}", image="base:1", depends_on=below) for side in "ab"
        ]
    return flyte.TaskEnvironment(name=f"d{depth}", image="base:1", depends_on=below)


def large(count: int, edges: int) -> list[flyte.Environment]:
    """Environments that depend on earlier ones, chosen by a seed."""
    chosen = random.Random(6)
    made: list[flyte.Environment] = []
    for number in range(count):
        below = chosen.sample(made, min(len(made), edges // count))
        made.append(flyte.TaskEnvironment(name=f"large-{number}", image="base:1", depends_on=below))
    return made


def walk(*roots: flyte.Environment) -> int:
    return len(Definitions.collect(roots).walk())


def flyte_walk(*roots: flyte.Environment) -> int:
    return sum(len(plan.envs) for plan in plan_deploy(*roots))


def best(work: Callable[[], int], count: int, rounds: int) -> float:
    found = float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        if work() != count:
            raise AssertionError("not every environment was found")
        found = min(found, time.perf_counter() - started)
    return found


@dataclass(frozen=True)
class Row:
    """A chain, and the seconds of both; flyte's are left out where they would be too many."""

    depth: int
    flyte: float | None
    flytebuild: float


def measure(depths: Sequence[int], rounds: int, limit: float) -> list[Row]:
    rows: list[Row] = []
    expected = 0.0
    for depth in depths:
        first, count = diamonds(depth), 2 * depth + 1
        theirs = None
        if expected < limit:
            theirs = best(partial(flyte_walk, first), count, 1 if expected > 1 else rounds)
            expected = theirs * 4
        ours = best(partial(walk, first), count, rounds)
        rows.append(Row(depth, theirs, ours))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--environments", type=int, default=10_000)
    parser.add_argument("--edges", type=int, default=100_000)
    parser.add_argument("--limit", type=float, default=20.0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = measure(DEPTHS, arguments.rounds, arguments.limit)
    made = large(arguments.environments, arguments.edges)
    edges = sum(len(environment.depends_on) for environment in made)
    seconds = best(lambda: walk(*made), len(made), arguments.rounds)
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    if arguments.json:
        large_graph = {"environments": len(made), "edges": edges, "flytebuild": seconds}
        print(json.dumps({"load": load, "diamonds": [asdict(row) for row in rows], "large": large_graph}, indent=2))
        return
    print(f"{'diamond chain of depth':24} {'flyte':>12} {'flytebuild':>12} {'ratio':>12}")
    for row in rows:
        theirs, ours = row.flyte, row.flytebuild
        if theirs is None:
            print(f"{row.depth:<24} {f'over {arguments.limit:g} s':>12} {ours * 1000:9.3f} ms")
        else:
            print(f"{row.depth:<24} {theirs * 1000:9.2f} ms {ours * 1000:9.3f} ms {theirs / ours:11.1f}x")
    print(f"\n{len(made)} environments, {edges} edges: {seconds * 1000:.0f} ms")
    print(f"\n{os.cpu_count()} cores, Python {platform.python_version()}, load {load}")


if __name__ == "__main__":
    main()
