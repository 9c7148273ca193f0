"""Projects of uv, Poetry and pixi, in both modes, with what they take from folders."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import uv

from tests.engine import packages
from tests.engine.building import Builds, Built

pytestmark = pytest.mark.engine

POETRY = Path(__file__).parent / "poetry"
GROUPS = '[dependency-groups]\nmore = ["iniconfig"]\n'
EDITABLE = '[tool.uv.sources]\nlibrary = { path = "library", editable = true }\n'
BESIDE = '[tool.uv.sources]\nlibrary = { path = "../library" }\n'
WORKSPACE = '[tool.uv.workspace]\nmembers = ["packages/*"]\n[tool.uv.sources]\nlibrary = { workspace = true }\n'
PIXI = """[workspace]
channels = ["conda-forge"]
platforms = ["linux-64"]
[dependencies]
python = "3.11.*"
[pypi-dependencies]
library = { path = "library" }
"""


def lock(folder: Path) -> Path:
    subprocess.run([uv.find_uv_bin(), "lock", "--quiet", "--directory", folder], check=True, timeout=60)
    return folder / "pyproject.toml"


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The manifest of each project."""
    top = tmp_path_factory.mktemp("projects")
    found = {
        "locked": lock(packages.source(top / "locked", "locked", "six==1.16.0", extra=GROUPS)),
        "unlocked": packages.source(top / "unlocked", "unlocked", "six<1.17") / "pyproject.toml",
        "beside": packages.source(top / "near" / "app", "beside", "library", extra=BESIDE) / "pyproject.toml",
        "workspace": packages.source(top / "workspace", "workspace", "library", extra=WORKSPACE) / "pyproject.toml",
        "editable": packages.source(top / "editable", "editable", "library", "six", extra=EDITABLE) / "pyproject.toml",
        "poetry": POETRY / "app" / "pyproject.toml",
        "pixi": top / "pixi" / "pixi.toml",
    }
    packages.source(top / "near" / "library", "library")
    packages.source(top / "workspace" / "packages" / "library", "library")
    packages.source(top / "editable" / "library", "library")
    packages.source(top / "pixi" / "library", "library")
    found["pixi"].write_text(PIXI)
    (top / "pixi" / "pixi.lock").write_text("version: 6\n")
    for name in ("beside", "workspace", "editable"):
        lock(found[name].parent)
    return found


@pytest.fixture(scope="module")
def images(builds: Builds, projects: dict[str, Path]) -> dict[str, Built]:
    base, at = builds.base, projects
    editable = base.with_workdir("/code").with_uv_project(at["editable"])
    return builds.build(
        {
            "dependencies": base.with_uv_project(at["locked"]),
            "group": base.with_uv_project(at["locked"], extra_args="--locked --group more"),
            "project": base.with_uv_project(at["locked"], project_install_mode="install_project"),
            "unlocked": base.with_uv_project(at["unlocked"]),
            "unlocked project": base.with_uv_project(at["unlocked"], project_install_mode="install_project"),
            "beside": base.with_uv_project(at["beside"], project_install_mode="install_project"),
            "workspace": base.with_uv_project(at["workspace"], project_install_mode="install_project"),
            "editable": editable,
            "editable with code": editable.with_source_folder(at["editable"].parent, ".", copy_contents_only=True),
            "poetry": base.with_poetry_project(at["poetry"]),
            "poetry project": base.with_poetry_project(
                at["poetry"], extra_args="--without dev", project_install_mode="install_project"
            ),
            "pixi": base.with_env_vars({"CONDA_OVERRIDE_CUDA": "12"})
            .with_pixi_project(at["pixi"], environment="gpu-1", extra_args="-v  --no-progress")
            .with_pip_packages("six==1.16.0"),
            "pixi project": base.with_pixi_project(at["pixi"], project_install_mode="install_project"),
        }
    )


def installed(image: Built) -> dict[str, str]:
    """What is installed beyond the base: versions by name."""
    found = {path.rsplit("/", 2)[1] for path in image.added if path.endswith(".dist-info/METADATA")}
    return dict(name.removesuffix(".dist-info").rsplit("-", 1) for name in found)


def test_a_uv_project_s_dependencies(images: dict[str, Built]) -> None:
    assert installed(images["dependencies"]) == {"six": "1.16.0"}
    assert set(installed(images["group"])) == {"six", "iniconfig"}
    assert installed(images["unlocked"]) == {"six": "1.16.0"}
    assert images["dependencies"].sh("id -un; python -c 'import six, flyte'") == ["flyte"]


def test_a_uv_project_with_its_dependencies(images: dict[str, Built]) -> None:
    for name, package in (("project", "locked"), ("unlocked project", "unlocked")):
        assert installed(images[name]) == {"six": "1.16.0", package: "1.2.3"}
        assert images[name].sh(f"cd /; python -c 'import {package}; print({package}.where)'") == [
            f"/opt/venv/lib/python3.11/site-packages/{package}/__init__.py"
        ]


def test_packages_beside_a_project_and_in_its_workspace(images: dict[str, Built]) -> None:
    for name in ("beside", "workspace"):
        assert installed(images[name]) == {name: "1.2.3", "library": "1.2.3"}
        assert images[name].sh("cd /; python -c 'import library; print(library.where)'") == [
            "/opt/venv/lib/python3.11/site-packages/library/__init__.py"
        ]


def test_an_editable_package_is_found_where_a_task_has_its_code(images: dict[str, Built]) -> None:
    assert set(installed(images["editable"])) == {"six", "library"}
    assert images["editable"].sh("pwd; ls -A") == ["/code"]
    assert images["editable with code"].sh("cd /; python -c 'import library; print(library.where)'") == [
        "/code/library/library/__init__.py"
    ]


@pytest.mark.parametrize(
    "name",
    ["dependencies", "project", "unlocked", "beside", "workspace", "editable", "poetry", "poetry project"],
)
def test_installing_a_project_leaves_what_is_installed_and_nothing_else(images: dict[str, Built], name: str) -> None:
    image = images[name]
    assert image.added_outside("/opt/venv") == set()
    folders = {path for path, member in image.added.items() if member.kind == "dir"}
    assert {path for path in folders if not path.startswith("/opt/venv/")} <= {
        *("/code", "/dev", "/home", "/home/flyte", "/opt", "/opt/venv", "/root", "/run", "/tmp")
    }
    assert image.sh("stat -c '%U' .") == ["flyte"]


def test_a_poetry_project_s_dependencies(images: dict[str, Built]) -> None:
    assert set(installed(images["poetry"])) == {"six", "iniconfig", "library"}
    assert images["poetry"].sh("python -c 'import library, flyte'; ! which poetry") == []


def test_a_poetry_project_with_its_dependencies(images: dict[str, Built]) -> None:
    image = images["poetry project"]
    assert set(installed(image)) == {"six", "library", "poetic"}
    assert image.sh("cd /; python -c 'import poetic; print(poetic.__file__, poetic.uses)'") == [
        "/opt/venv/lib/python3.11/site-packages/poetic/__init__.py library"
    ]
    assert image.env["VIRTUAL_ENV"] == "/opt/venv"
    assert "POETRY_CACHE_DIR" not in image.env


def test_a_pixi_project(images: dict[str, Built]) -> None:
    """By a stand-in that records how it is called."""
    image = images["pixi"]
    record = {
        path.removeprefix("/var/lib/pixi-stand-in/1/"): member.content.decode()
        for path, member in image.added.items()
        if path.startswith("/var/lib/pixi-stand-in/1/")
    }
    assert record["arguments"].splitlines() == [
        *("install", "--manifest-path", "/opt/pixi-project/pixi.toml", "--environment", "gpu-1", "--locked"),
        *("-v", "--no-progress"),
    ]
    assert "CONDA_OVERRIDE_CUDA" in record["variables"].splitlines()
    assert record["pixi.toml"] == PIXI
    assert record["pixi.lock"] == "version: 6\n"
    environment = "/opt/pixi-project/.pixi/envs/gpu-1"
    assert image.env["VIRTUAL_ENV"] == environment
    assert image.env["UV_PYTHON"] == f"{environment}/bin/python"
    assert image.env["PIXI_PROJECT_MANIFEST"] == "/opt/pixi-project/pixi.toml"
    assert image.env["PATH"].startswith(f"{environment}/bin:")
    assert image.sh("which python; python -c 'import six; print(six.__version__)'; pixi --version") == [
        f"{environment}/bin/python",
        "1.16.0",
        "pixi 0.72.2 (stand-in)",
    ]


def test_the_files_of_a_pixi_project_stay(images: dict[str, Built]) -> None:
    below = "/opt/pixi-project/"
    files = {
        name: {path.removeprefix(below) for path in images[name].added_outside() if path.startswith(below)}
        for name in ("pixi", "pixi project")
    }
    own = {"pixi.toml", "pixi.lock", "library/pyproject.toml", "library/library/__init__.py"}
    for found in files.values():
        assert {path for path in found if not path.startswith(".pixi/")} == own
    assert images["pixi"].added_outside("/opt/pixi-project", "/usr/local/bin/pixi", "/var/lib/pixi-stand-in") == set()


def test_a_lock_that_no_longer_fits_fails_the_step(builds: Builds, tmp_path: Path) -> None:
    manifest = lock(packages.source(tmp_path, "outdated", "six==1.16.0"))
    manifest.write_text(manifest.read_text().replace("six==1.16.0", "six==1.15.0"))
    failure = builds.failure(builds.plan({"outdated": builds.base.with_uv_project(manifest)}))
    assert failure.step == "uv project: dependencies"
    assert any("lock" in line for line in failure.log)
    assert failure.origin.endswith(".py:" + failure.origin.rpartition(":")[2])
