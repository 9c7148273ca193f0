"""What is measured, each in turn with what it is held against."""

from __future__ import annotations

import contextlib
import http.server
import os
import statistics
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.runtime.place import EXAMPLE, WORKFLOW, Place
from flytebuild.inside import worker

MIB = 200
CHILDREN = 100
_IMPORTS = """
import contextlib, importlib
for name in {}:
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
"""


@dataclass
class Row:
    """A case: seconds, or MB/s, of each round."""

    name: str
    unit: str = "s"
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The one in the middle."""
        return statistics.median(self.values)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server of files that says nothing."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def plain_server(address: str) -> Iterator[str]:
    """The address of a file of MIB MiB, for `curl`, from a server that copies it in the kernel."""
    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / "file").open("wb") as file:
            file.write(b"\0" * (MIB << 20))
        server = http.server.ThreadingHTTPServer((address, 0), partial(Quiet, directory=folder))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://{address}:{server.server_address[1]}/file"
        finally:
            server.shutdown()
            server.server_close()


def start_up(place: Place, rows: dict[str, Row]) -> Callable[[], None]:
    """A trivial task, cold and warm, beside a container that does nothing, and one that imports what `a0` does."""
    trivial = place.prepare(WORKFLOW, "trivial")
    image = place.run(trivial, warm=False).document["actions"][0]["image"]
    place.run(trivial, warm=True)
    imports = _IMPORTS.format(worker.MODULES)

    def act() -> None:
        nothing = place.docker_run(image, "true")
        _add(rows, "`docker run IMAGE true`", nothing)
        _add(rows, "`docker run` and the imports of `a0`", place.docker_run(image, "python", "-c", imports))
        _add(rows, "trivial task, cold", place.run(trivial, warm=False).seconds)
        _add(rows, "trivial task, warm", place.run(trivial, warm=True).seconds)

    return act


def example(place: Place, rows: dict[str, Row]) -> Callable[[], None]:
    """Flyte's multi-environment example, three tasks one after the other in three images."""
    main = place.prepare(EXAMPLE, "main", "--sequence", "AAGGTTCCAA")
    place.run(main, warm=True)

    def act() -> None:
        _add(rows, "AlphaFold2 example, cold", place.run(main, warm=False).seconds)
        _add(rows, "AlphaFold2 example, warm", place.run(main, warm=True).seconds)

    return act


def fan_out(place: Place, rows: dict[str, Row]) -> Callable[[], None]:
    """Many children at once, warm; and the processor time that they took, shared among all processors."""
    request = place.prepare(WORKFLOW, "fan_out", "--count", str(CHILDREN))

    def act() -> None:
        place.settle()
        before = place.cpu()
        measured = place.run(request, warm=True)
        _add(rows, f"{CHILDREN} children, warm", measured.seconds)
        _add(rows, "their processor time / processors", (measured.cpu - before) / (os.cpu_count() or 1))

    return act


def fan_out_cold(place: Place, rows: dict[str, Row]) -> Callable[[], None]:
    """The same in containers of their own."""
    request = place.prepare(WORKFLOW, "fan_out", "--count", str(CHILDREN))

    def act() -> None:
        _add(rows, f"{CHILDREN} children, cold", place.run(request, warm=False).seconds)

    return act


def files(place: Place, rows: dict[str, Row]) -> Callable[[], None]:
    """A file out of one container and into another, beside `curl` in a container and a plain server."""
    moved = place.prepare(WORKFLOW, "transfer", "--mib", str(MIB))
    url = place.stack.enter_context(plain_server(place.gateway()))
    fetched = place.prepare(WORKFLOW, "fetch", "--url", url)

    def act() -> None:
        written, read = place.run(moved, warm=True).output
        for name, seconds in (
            (f"`curl`, {MIB} MiB", place.run(fetched, warm=True).output),
            ("File, written by a task", written),
            ("File, read by another", read),
        ):
            _add(rows, name, (MIB << 20) / 1e6 / seconds, "MB/s")

    return act


CASES = {
    "start": start_up,
    "example": example,
    "fan-out": fan_out,
    "fan-out-cold": fan_out_cold,
    "files": files,
}


def _add(rows: dict[str, Row], name: str, value: float, unit: str = "s") -> None:
    print(f"  {name}: {value:.3f} {unit}", flush=True)
    rows.setdefault(name, Row(name, unit)).values.append(value)
