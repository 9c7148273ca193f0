"""Small Python packages that are made when a test needs them: wheels, indexes of wheels, source folders."""

from __future__ import annotations

import io
import posixpath
import random
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from threading import Event
from typing import Any

from tests.serving import Quiet, answering

PATIENCE = 300.0
"""Seconds after which a request at a closed gate is given up."""


def wheel(folder: Path, name: str, version: str, *requires: str, more: Mapping[str, str] | None = None) -> Path:
    """A wheel with one module, which knows its version; `more` are the texts of further files by their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {item}\n" for item in requires)
    files = {
        **(more or {}),
        f"{name}.py": f"version = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in files.items():
            archive.writestr(zipfile.ZipInfo(inside, (2020, 1, 1, 0, 0, 0)), text)
    return path


def sdist(name: str, version: str, code: str) -> bytes:
    """A source distribution of the old form, whose `setup.py` must be run to learn anything of it."""
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w:gz") as archive:
        text = f"{code}from setuptools import setup\nsetup(name={name!r}, version={version!r})\n".encode()
        member = tarfile.TarInfo(f"{name}-{version}/setup.py")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    return found.getvalue()


def padded(folder: Path, name: str, version: str, size: int) -> Path:
    """The same with `size` bytes that nothing compresses, equal for equal names."""
    path = wheel(folder, name, version)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(f"{name}.bin", (2020, 1, 1, 0, 0, 0)), random.Random(name).randbytes(size))
    return path


@contextmanager
def serving(folder: Path, address: str = "127.0.0.1", gates: Mapping[str, Event] | None = None) -> Iterator[str]:
    """The URL of a folder at an address of this machine, for as long as it is entered.

    A file whose name is in `gates` is given while its gate is open (set).
    """
    with answering(partial(_Files, directory=str(folder), gates=gates or {}), address) as host:
        yield f"http://{host}"


class _Files(Quiet, SimpleHTTPRequestHandler):
    def __init__(self, *arguments: Any, gates: Mapping[str, Event], directory: str) -> None:
        self._gates = gates
        super().__init__(*arguments, directory=directory)

    def do_GET(self) -> None:
        gate = self._gates.get(posixpath.basename(self.path))
        if gate is None or gate.wait(PATIENCE):
            super().do_GET()


def index(folder: Path, *wheels: tuple[str, str]) -> Path:
    """A package index of the simple kind, as files: `index/simple` is what to point to."""
    for name, version in wheels:
        wheel(folder / "simple" / name, name, version)
        listed(folder / "simple" / name)
    return folder


def listed(place: Path) -> None:
    """Have the page of a package name all wheels that are there."""
    links = "".join(f'<a href="{item.name}">{item.name}</a>\n' for item in sorted(place.glob("*.whl")))
    (place / "index.html").write_text(f"<!DOCTYPE html><html><body>{links}</body></html>\n")


def source(folder: Path, name: str, *requires: str, extra: str = "", backend: str = "hatchling.build") -> Path:
    """The source of a package with one module, and the backend that builds it."""
    module = folder / name
    module.mkdir(parents=True, exist_ok=True)
    (module / "__init__.py").write_text(f"where = __file__\nname = {name!r}\n")
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "1.2.3"\nrequires-python = ">=3.10"\n'
        f"dependencies = {list(requires)!r}\n"
        f'[build-system]\nrequires = ["{backend.partition(".")[0]}"]\nbuild-backend = "{backend}"\n'
        f"{extra}"
    )
    return folder
