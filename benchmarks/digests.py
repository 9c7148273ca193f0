"""How long digests of many images take, beside flyte's own tags for the same images.

    python -m benchmarks.digests [--images 1000] [--rounds 5] [--json]

Each round makes the images anew (flyte keeps a tag on its image), as our loader does it, which notes where each layer
was written. Then flyte's `.uri` or our digests of all of them are taken; the best round of each counts. Ours does what
a plan does: it reads all images, pins them (the registries' answers are made up) and digests them. It reads every file
once and has no stat cache.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import flyte

from flytebuild.authoring.images import Reader
from flytebuild.authoring.site import recorded
from flytebuild.spec.digests import digests
from flytebuild.spec.images import Platform, ResolvedImage, RuntimeConfig
from flytebuild.spec.model import ExternalImage
from flytebuild.spec.specify import Specifier, images_needed

PLATFORM = Platform("linux", "amd64")
CONFIG = RuntimeConfig(env=(("PATH", "/opt/venv/bin:/usr/bin"),), user="flyte", workdir="/home/flyte")
FILES = 100


def base() -> flyte.Image:
    return flyte.Image.from_base("registry.example/base:1").clone(
        name="x", registry="registry.example", extendable=True
    )


def all_different(number: int, _: Path) -> flyte.Image:
    """No two images share a layer."""
    return (
        base()
        .with_apt_packages("git", f"lib{number}")
        .with_pip_packages(f"numpy>={number}", "pandas<3,>=2")
        .with_env_vars({"NUMBER": str(number)})
        .with_pip_packages(f"package{number}", "httpx[http2]")
        .with_commands([f"echo {number}"])
        .with_workdir(f"/srv/{number}")
    )


def last_different(number: int, _: Path) -> flyte.Image:
    """Images share all layers but the last."""
    return (
        base()
        .with_apt_packages("git", "curl")
        .with_pip_packages("numpy>=1.26", "pandas<3,>=2")
        .with_env_vars({"A": "1"})
        .with_commands(["echo"])
        .with_workdir("/srv")
        .with_pip_packages(f"package{number}", "httpx[http2]")
    )


def with_files(number: int, folder: Path) -> flyte.Image:
    """A requirements file and a folder of 100 files in each."""
    return (
        base()
        .with_apt_packages("git", "curl")
        .with_requirements(folder / "requirements.txt")
        .with_env_vars({"A": "1"})
        .with_source_folder(folder / "src")
        .with_workdir("/srv")
        .with_pip_packages(f"package{number}", "httpx[http2]")
    )


CASES: dict[str, Callable[[int, Path], flyte.Image]] = {
    "without files, every layer its own": all_different,
    "without files, the last layer its own": last_different,
    "with a requirements file and 100 files": with_files,
}


def flyte_tags(images: Sequence[flyte.Image]) -> int:
    return len({image.uri for image in images})


def our_digests(images: Sequence[flyte.Image]) -> int:
    """From `flyte.Image` to the digests that tags are made of, in the steps of `flytebuild.pipeline`."""
    reader = Reader()
    definitions = [item for image in images if not isinstance(item := reader.define(image, "env"), ExternalImage)]
    names = {name for definition in definitions for name in images_needed(definition)}
    resolved = {name: ResolvedImage(name, name, "sha256:" + "1" * 64, CONFIG) for name in names}
    specifier = Specifier(PLATFORM, resolved)
    specs = [specifier.specify(definition) for definition in definitions]
    return len({digests(spec).image for spec in specs})


def measure(make: Callable[[int, Path], flyte.Image], count: int, rounds: int, folder: Path) -> dict[str, float]:
    best = {"flyte": float("inf"), "flytebuild": float("inf")}
    for _ in range(rounds):
        for name, work in (("flyte", flyte_tags), ("flytebuild", our_digests)):
            with recorded():
                images = [make(number, folder) for number in range(count)]
            gc.collect()
            started = time.perf_counter()
            if work(images) != count:
                raise AssertionError(f"{name}: two of {count} images share a digest")
            best[name] = min(best[name], time.perf_counter() - started)
    return {**best, "ratio": best["flyte"] / best["flytebuild"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "src").mkdir()
        (folder / "requirements.txt").write_text("".join(f"package{number}=={number}\n" for number in range(20)))
        for number in range(FILES):
            (folder / "src" / f"module{number}.py").write_text(f"value = {number}\n" * 100)
        results = {name: measure(make, arguments.images, arguments.rounds, folder) for name, make in CASES.items()}
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    if arguments.json:
        facts = {"images": arguments.images, "layers": 6, "load": load, "cores": os.cpu_count()}
        print(json.dumps({**facts, "seconds": results}, indent=2))
        return
    print(f"{arguments.images} images with 6 layers each, the best of {arguments.rounds} rounds\n")
    print(f"{'':40} {'flyte':>10} {'flytebuild':>11} {'ratio':>7}")
    for name, found in results.items():
        print(f"{name:40} {found['flyte'] * 1000:7.0f} ms {found['flytebuild'] * 1000:8.0f} ms {found['ratio']:6.2f}x")
    print(f"\n{os.cpu_count()} cores, Python {platform.python_version()}, load {load}")


if __name__ == "__main__":
    main()
