"""Base images, made from Debian's archive and PyPI where the public registries cannot be reached.

They are pushed to the registry on the loopback under the names that they have in the public ones, which are then
mirrored there. `catalogue.py` says which ones there are.
"""

from __future__ import annotations

import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from scripts.machine import foreign, roots, small
from scripts.machine.catalogue import SUITES, UV_VERSION, Base
from scripts.machine.debian import architecture, ca_bundle, fetch, new_folder
from scripts.machine.processes import Children
from scripts.machine.push import Layer, Repository
from scripts.machine.report import MachineError, say
from scripts.machine.state import State

FRONT_DOORS = {"docker.io": "registry-1.docker.io"}
"""Where a registry answers, if not at its own name."""

PYTHON_CONFIG: dict[str, Any] = {
    "Cmd": ["python3"],
    "Env": ["PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"],
}

# What the published image declares.
FLYTE_CONFIG: dict[str, Any] = {
    "User": "flyte",
    "WorkingDir": "/home/flyte",
    "Cmd": ["python3"],
    "Env": [
        "PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        ":/usr/local/nvidia/bin:/usr/local/cuda/bin",
        "LANG=C.UTF-8",
        "VIRTUAL_ENV=/opt/venv",
        "PYTHONPATH=/root",
        "UV_PYTHON=/opt/venv/bin/python",
        "UV_LINK_MODE=copy",
        "UV_COMPILE_BYTECODE=1",
        "LD_LIBRARY_PATH=/usr/local/nvidia/lib64",
    ],
    "Labels": {
        "org.opencontainers.image.authors": "Union.AI <info@union.ai>",
        "org.opencontainers.image.source": "https://github.com/flyteorg/flyte",
    },
}


def is_reachable(registry: str, seconds: float = 5.0) -> bool:
    """Whether a public registry answers as one: a network's proxy that refuses (403, 502, ...) does not count."""
    answers: list[bool] = []

    def probe() -> None:
        context = ssl.create_default_context(cafile=str(ca_bundle()) if ca_bundle() else None)
        address = f"https://{FRONT_DOORS.get(registry, registry)}/v2/"
        try:
            with urllib.request.urlopen(address, timeout=seconds, context=context):
                answers.append(True)
        except urllib.error.HTTPError as error:
            answers.append(error.code == 401)
        except (OSError, ValueError):
            answers.append(False)

    # In a thread, since looking up a name has no deadline of its own.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(answers and answers[0])


def missing(port: int, wanted: Sequence[Base]) -> tuple[Base, ...]:
    """Those that the registry at `port` does not have, or not for all of their architectures."""
    return tuple(
        base for base in wanted if not _repository(port, base).architectures(base.tag).issuperset(base.architectures)
    )


def mirrors(port: int, bases: Sequence[Base]) -> dict[str, str]:
    """What stands in for what, when these bases are at `port`: a whole registry if it has to, else its one part."""
    whole = {base.registry for base in bases if base.is_published}
    parts = {f"{base.registry}/{base.path}" for base in bases if base.registry not in whole}
    return {name: f"127.0.0.1:{port}/{name}" for name in sorted(whole | parts)}


def make(state: State, port: int, bases: Sequence[Base], children: Children) -> None:
    """Make bases, side by side as far as they do not need each other."""
    began = time.monotonic()
    say("bases", f"making {', '.join(base.reference for base in bases)} ...")
    _Kitchen(state, port, bases, children).make_all()
    say("bases", f"made in {time.monotonic() - began:.0f} s")


class _Kitchen:
    """One `make`: each method makes one base, or those that share most of what they are made of."""

    def __init__(self, state: State, port: int, bases: Sequence[Base], children: Children) -> None:
        self.state = state
        self.port = port
        self.bases = {base.name: base for base in bases}
        self.children = children
        self.scratch = new_folder(state.scratch / "bases")
        self.pool = ThreadPoolExecutor(max_workers=16)
        self.uv: dict[str, Future[Path]] = {}

    def make_all(self) -> None:
        small_ones: dict[str, Callable[[Base], None]] = {
            "uv": self._make_uv,
            "pixi": self._make_pixi,
            "service": self._make_service,
            "copyonly": self._make_copy_only,
            "foreign": self._make_copy_only,
        }
        versions = dict.fromkeys(base.python for base in self.bases.values() if base.python)
        for version in versions:
            if version not in SUITES:
                raise MachineError(
                    f"No release of Debian has Python {version}, so its base image cannot be made here",
                    hint="use python3.11 or python3.13: `rm -r .venv && make setup PYTHON=python3.11`",
                )
        with self.pool:
            users = [base for name, base in self.bases.items() if name.startswith(("uv", "flyte"))]
            for target in {architecture(), *(target for base in users for target in base.architectures)}:
                self.uv[target] = self.pool.submit(self._fetch_uv, target)
            jobs = [self.pool.submit(self._make_python, version) for version in versions]
            jobs += [self.pool.submit(small_ones[name], self.bases[name]) for name in small_ones if name in self.bases]
            try:
                done, _ = wait(jobs, return_when=FIRST_EXCEPTION)
                for job in done:
                    job.result()
            except BaseException:
                self.children.cancel()
                raise

    def _make_python(self, version: str) -> None:
        """The bases with one Python: Debian's, and uv or Flyte on top of it."""
        asked = [base for name in ("python", "uv", "flyte") if (base := self.bases.get(f"{name}{version}"))]
        here = architecture()
        home = _repository(self.port, asked[0])
        log = self._log(f"python{version}")
        root = roots.make_python(self.state, SUITES[version], self.scratch / f"python{version}", log, self.children)
        trees, jobs = {here: root}, {}
        for target in {target for base in asked for target in base.architectures} - {here}:
            trees[target] = foreign.copy(root, self.scratch / f"python{version}-{target}", log, self.children)
            jobs[target] = self.pool.submit(self._make_foreign_python, version, target, trees[target], home)
        layers = {here: [home.push_layer(roots.read_layer(root, log, self.children))]}
        if flyte := self.bases.get(f"flyte{version}"):
            roots.add_flyte(root, flyte.tag.partition("-v")[2], self.uv[here].result(), log, self.children)
        layers |= {target: [job.result()] for target, job in jobs.items()}
        if python := self.bases.get(f"python{version}"):
            self._publish(python, layers, PYTHON_CONFIG)
        if tool := self.bases.get(f"uv{version}"):
            self._publish_tool(tool, layers, home)
        if flyte:
            repository = _repository(self.port, flyte)
            tops = {
                target: self.pool.submit(self._push_flyte, repository, version, target, root, trees[target])
                for target in flyte.architectures
            }
            for target, top in tops.items():
                repository.take_layer(layers[target][0], home)
                layers[target].append(top.result())
            self._publish(flyte, layers, FLYTE_CONFIG)

    def _make_foreign_python(self, version: str, target: str, root: Path, home: Repository) -> Layer:
        log = self._log(f"python{version}-{target}")
        foreign.exchange_packages(root, SUITES[version], target, log, self.children)
        return home.push_layer(roots.read_layer(root, log, self.children))

    def _publish_tool(self, tool: Base, layers: Mapping[str, Sequence[Layer]], home: Repository) -> None:
        repository = _repository(self.port, tool)
        stacked = {}
        for target in tool.architectures:
            for layer in layers[target]:
                repository.take_layer(layer, home)
            program = small.program("usr/local/bin/uv", self.uv[target].result().read_bytes())
            stacked[target] = [*layers[target], repository.push_layer(program)]
        self._publish(tool, stacked, PYTHON_CONFIG)

    def _push_flyte(self, repository: Repository, version: str, target: str, native: Path, root: Path) -> Layer:
        log = self._log(f"python{version}-{target}")
        if root != native:
            programs = self.uv[architecture()].result(), self.uv[target].result()
            foreign.add_flyte(native, root, target, version, programs, log, self.children)
        return repository.push_layer(roots.read_layer(root, log, self.children, roots.FLYTE_PATHS))

    def _make_uv(self, base: Base) -> None:
        repository = _repository(self.port, base)
        layers = {
            target: [repository.push_layer(small.program("uv", self.uv[target].result().read_bytes()))]
            for target in base.architectures
        }
        self._publish(base, layers, {"Entrypoint": ["/uv"]})

    def _make_pixi(self, base: Base) -> None:
        text = Path(__file__).with_name("pixi-stand-in.sh").read_text().replace("@VERSION@", base.tag)
        layer = _repository(self.port, base).push_layer(small.program("usr/local/bin/pixi", text.encode()))
        labels = {"org.opencontainers.image.description": "NOT pixi: a stand-in that records how it is called"}
        self._publish(base, {target: [layer] for target in base.architectures}, {"Labels": labels})

    def _make_service(self, base: Base) -> None:
        folder, log = new_folder(self.scratch / "busybox"), self._log("service")
        (package,) = fetch(["busybox-static"], folder, log, self.children)
        self.children.run(["dpkg-deb", "--extract", package, folder], log=log)
        (busybox,) = folder.glob("**/bin/busybox")
        layer = _repository(self.port, base).push_layer(small.service(busybox))
        self._publish(base, {target: [layer] for target in base.architectures}, small.SERVICE_CONFIG)

    def _make_copy_only(self, base: Base) -> None:
        repository = _repository(self.port, base)
        layers = {target: [repository.push_layer(small.copy_only(target))] for target in base.architectures}
        self._publish(base, layers, small.COPY_ONLY_CONFIG)

    def _fetch_uv(self, target: str) -> Path:
        return roots.fetch_uv(UV_VERSION, target, self.scratch / f"uv-{target}", self._log("uv"), self.children)

    def _publish(self, base: Base, layers: Mapping[str, Sequence[Layer]], config: dict[str, Any]) -> None:
        """Give the base its name, when all that it is made of is there."""
        repository = _repository(self.port, base)
        created = datetime.fromtimestamp(roots.CREATED, timezone.utc).isoformat().replace("+00:00", "Z")
        common = {"os": "linux", "created": created, "config": config}
        images = [
            repository.push_image(layers[target], {**common, "architecture": target}) for target in base.architectures
        ]
        repository.push(base.tag, images)

    def _log(self, name: str) -> Path:
        return self.state.logs / f"base-{name}.log"


def _repository(port: int, base: Base) -> Repository:
    return Repository(port, f"{base.registry}/{base.path}")
