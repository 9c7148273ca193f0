"""Small Python packages that are made when a test needs them: wheels, indexes of wheels, source folders."""

from __future__ import annotations

import zipfile
from pathlib import Path


def wheel(folder: Path, name: str, version: str, *requires: str) -> Path:
    """A wheel with one module, which knows its version."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {item}\n" for item in requires)
    files = {
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


def index(folder: Path, *wheels: tuple[str, str]) -> Path:
    """A package index of the simple kind, as files: `index/simple` is what to point to."""
    for name, version in wheels:
        place = folder / "simple" / name
        wheel(place, name, version)
        links = "".join(f'<a href="{item.name}">{item.name}</a>\n' for item in sorted(place.glob("*.whl")))
        (place / "index.html").write_text(f"<!DOCTYPE html><html><body>{links}</body></html>\n")
    return folder


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
