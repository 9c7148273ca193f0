"""File trees, beside flyte's own hash and staging: `python -m benchmarks.trees --help`."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

PATTERNS = """\
.git
**/__pycache__
**/*.pyc
**/node_modules
*.log
.venv
build
dist
**/.DS_Store
!build/keep
"""


@dataclass(frozen=True)
class Result:
    """One measurement: the best time, the highest memory, and what it is compared with."""

    group: str
    name: str
    seconds: float
    memory_mib: float
    ratio: float | None = None
    of: str = ""


def main() -> None:
    """Make the data, measure, print."""
    options = _options()
    if options.job:
        _run_job(options.job, Path(options.root), Path(options.cache))
        return
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="flytebuild-trees-") as folder:
        results = _measure(options, Path(folder))
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    if options.json:
        print(
            json.dumps({"load": load, "cores": os.cpu_count(), "results": [asdict(item) for item in results]}, indent=2)
        )
        return
    group = ""
    for item in results:
        if item.group != group:
            group = item.group
            print(f"\n{group}")
        ratio = f"{item.ratio:6.2f} x {item.of}" if item.ratio is not None else ""
        print(f"  {item.name:44} {item.seconds:8.3f} s {item.memory_mib:7.0f} MiB  {ratio}")
    print(f"\n{os.cpu_count()} cores, load {load}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trees", description=__doc__)
    parser.add_argument("--files", type=int, default=50_000, help="files in the tree")
    parser.add_argument(
        "--memory-files", type=int, default=100_000, help="files in the tree that memory is measured on"
    )
    parser.add_argument("--big-mib", type=int, default=2048, help="size of the large file")
    parser.add_argument("--huge-gib", type=int, default=10, help="size of the (sparse) file that memory is measured on")
    parser.add_argument("--repeat", type=int, default=3, help="the best of so many counts")
    parser.add_argument("--folder", help="where the data is put; the default is the folder for temporary files")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    for hidden in ("job", "root", "cache"):
        parser.add_argument(f"--{hidden}", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def _measure(options: argparse.Namespace, folder: Path) -> list[Result]:
    tree, many, big, huge = (folder / name for name in ("tree", "many", "big", "huge"))
    cache = folder / "cache/stat"
    _say(f"{options.files} files, {options.memory_files} files, {options.big_mib} MiB …")
    _make_tree(tree, options.files)
    _make_tree(many, options.memory_files)
    _make_file(big, options.big_mib)
    with open(huge, "wb") as file:
        file.truncate(options.huge_gib << 30)
    os.sync()
    time.sleep(3)  # until the files are old enough for the stat cache

    def best(job: str, root: Path, *, cold: bool = False, repeat: int = options.repeat) -> tuple[float, float]:
        _say(f"{job}{' cold' if cold else ''}")
        runs = []
        for _ in range(repeat):
            if cold:
                _drop(root)
            runs.append(_child(job, root, cache))
        return min(run[0] for run in runs), max(run[1] for run in runs)

    results: list[Result] = []

    def note(group: str, name: str, measured: tuple[float, float], base: float | None = None, of: str = "") -> float:
        seconds, memory = measured
        ratio = base / seconds if base is not None else None
        results.append(Result(group, name, round(seconds, 4), round(memory, 1), ratio and round(ratio, 2), of))
        return seconds

    group = f"{options.files} files, warm (ratio: how much faster than flyte)"
    flyte = note(group, "flyte: hash", best("flyte-hash", tree))
    flyte += note(group, "flyte: staging copy", best("flyte-stage", tree))
    faster = "flyte's hash + staging"
    note(group, "flytebuild: no stat cache", best("scan", tree), flyte, faster)
    best("scan-cached", tree, repeat=1)
    note(group, "flytebuild: stat cache, no change", best("scan-cached", tree), flyte, faster)

    group = f"{options.files} files, warm, 10 ignore patterns"
    flyte_ignore = note(group, "flyte: hash", best("flyte-hash-ignore", tree))
    flyte_ignore += note(group, "flyte: staging copy", best("flyte-stage-ignore", tree))
    note(group, "flytebuild: no stat cache", best("scan-ignore", tree), flyte_ignore, faster)
    note(group, "flytebuild: stat cache, no change", best("scan-ignore-cached", tree), flyte_ignore, faster)

    group = f"{options.files} files, cold"
    flyte_cold = note(group, "flyte: hash", best("flyte-hash", tree, cold=True))
    flyte_cold += note(group, "flyte: staging copy", best("flyte-stage", tree, cold=True))
    note(group, "flytebuild: no stat cache", best("scan", tree, cold=True), flyte_cold, faster)
    note(group, "flytebuild: stat cache, no change", best("scan-cached", tree, cold=True), flyte_cold, faster)

    group = f"one file of {options.big_mib} MiB, warm (ratio: time of the other / ours)"
    md5 = note(group, "flyte: md5", best("flyte-file", big))
    mapped = note(group, "blake3: update_mmap, all cores", best("mmap-file", big))
    ours = best("scan-file", big)
    note(group, "flytebuild", ours, md5, "flyte's md5")
    note(group, "flytebuild", ours, mapped, "update_mmap")

    group = "memory"
    note(group, "a process that imports and does nothing", best("nothing", tree, repeat=1))
    note(group, f"flytebuild: {options.memory_files} files, no stat cache", best("scan", many, repeat=1))
    note(group, f"flytebuild: {options.memory_files} files, stat cache filled", best("scan-cached", many, repeat=1))
    note(group, f"flytebuild: {options.memory_files} files, no change", best("scan-cached", many, repeat=1))
    note(group, f"flytebuild: one file of {options.huge_gib} GiB", best("scan-file", huge, repeat=1))
    return results


def _child(job: str, root: Path, cache: Path) -> tuple[float, float]:
    command = [sys.executable, "-m", "benchmarks.trees", "--job", job, "--root", str(root), "--cache", str(cache)]
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    seconds, memory = json.loads(found)
    return seconds, memory


def _run_job(job: str, root: Path, cache: Path) -> None:
    with tempfile.TemporaryDirectory(dir=root.parent, prefix="stage-") as staging:
        work = _flyte_job(job, root, Path(staging)) if job.startswith("flyte") else _our_job(job, root, cache)
        started = time.perf_counter()
        work()
        seconds = time.perf_counter() - started
        print(json.dumps([seconds, _memory()]))


def _our_job(job: str, root: Path, cache: Path) -> Callable[[], object]:
    from blake3 import blake3

    from flytebuild.trees.ignore import Ignore
    from flytebuild.trees.scan import scan, scan_file
    from flytebuild.trees.statcache import StatCache

    def cached(ignore: Ignore) -> None:
        with StatCache.open(cache, emit=lambda event: _say(str(event))) as known:
            scan(root, ignore, known)

    return {
        "nothing": lambda: None,
        "scan": lambda: scan(root, Ignore.none(), None),
        "scan-cached": lambda: cached(Ignore.none()),
        "scan-ignore": lambda: scan(root, Ignore.parse(PATTERNS, ""), None),
        "scan-ignore-cached": lambda: cached(Ignore.parse(PATTERNS, "")),
        "scan-file": lambda: scan_file(root, None),
        "mmap-file": lambda: blake3(max_threads=blake3.AUTO).update_mmap(root).digest(),
    }[job]


def _flyte_job(job: str, root: Path, staging: Path) -> Callable[[], object]:
    from flyte._code_bundle._ignore import DockerfileIgnore
    from flyte._internal.imagebuild.utils import copy_files_to_context
    from flyte._utils.file_handling import filehash_update, update_hasher_for_source

    hasher = hashlib.md5()
    lines = PATTERNS.splitlines()

    def hash_ignoring() -> None:
        # As flyte does it: the ignore file lies in the folder that is hashed.
        (root / ".dockerignore").write_text(PATTERNS)
        try:
            update_hasher_for_source(root, hasher, ignore=DockerfileIgnore(root))
        finally:
            (root / ".dockerignore").unlink()

    return {
        "flyte-hash": lambda: update_hasher_for_source(root, hasher),
        "flyte-hash-ignore": hash_ignoring,
        "flyte-stage": lambda: copy_files_to_context(root, staging, []),
        "flyte-stage-ignore": lambda: copy_files_to_context(root, staging, lines),
        "flyte-file": lambda: filehash_update(root, hasher),
    }[job]


def _memory() -> float:
    """The most memory that this process has held, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # Linux counts what the parent held at the fork as `ru_maxrss`; this is ours alone.
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)


def _make_tree(root: Path, files: int) -> None:
    """Source-like files of 200 to 5,500 bytes, up to 50 in a folder."""
    chance = random.Random(1)
    for number in range(files):
        folder = root / f"package{number // 1000}" / f"module{number // 50 % 20}"
        if number % 50 == 0:
            folder.mkdir(parents=True)
        (folder / f"file{number}.py").write_bytes(chance.randbytes(chance.randint(200, 5500)))


def _make_file(path: Path, mebibytes: int) -> None:
    with open(path, "wb") as file:
        for _ in range(mebibytes):
            file.write(os.urandom(1 << 20))


def _drop(root: Path) -> None:
    """Let the page cache forget the content of a tree, where that is possible."""
    if not hasattr(os, "posix_fadvise"):
        return
    for folder, _, names in os.walk(root):
        for name in names:
            descriptor = os.open(os.path.join(folder, name), os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
