"""Poetry's projects."""

from pathlib import Path

import flyte

from flytebuild.authoring.images import define
from flytebuild.spec.layers import PoetryProject
from flytebuild.spec.model import ImageDefinition

BASE = flyte.Image.from_base("r.example/base:1").clone(name="x", extendable=True)
PROJECT = '[project]\nname = "app"\nversion = "1"\n'
LIBRARY = '[[package]]\nname = "library"\nversion = "1"\ndevelop = true\n'
SOURCE = '[package.source]\ntype = "directory"\nurl = "library"\n'


def project(folder: Path, more: str = "") -> Path:
    (folder / "library").mkdir()
    (folder / "pyproject.toml").write_text(PROJECT + more)
    (folder / "poetry.lock").write_text(LIBRARY + SOURCE)
    return folder / "pyproject.toml"


def layer(manifest: Path) -> PoetryProject:
    found = define(BASE.with_poetry_project(manifest, project_install_mode="install_project"), "env")
    assert isinstance(found, ImageDefinition)
    (placed,) = found.parts
    assert isinstance(placed.part, PoetryProject)
    return placed.part


def test_a_project_is_installed_with_its_dependencies(tmp_path: Path) -> None:
    assert layer(project(tmp_path)).mode == "install_project"


def test_a_project_that_is_no_package_has_only_dependencies(tmp_path: Path) -> None:
    assert layer(project(tmp_path, "[tool.poetry]\npackage-mode = false\n")).mode == "dependencies_only"
