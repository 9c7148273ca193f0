"""Environments of real packages, built both ways: the same files from wheel layers as from steps.

What could differ, and the environments that have it (those after the semicolon with `make test-wheels` only):

- native code: `native`, `numpy`, `flyte`; `science`, `stacked`, `torch`, `cloud`
- namespace packages, whose folder several wheels have a part of: `native` (`zope`), `google`; `cloud`
- scripts: `scripts`, `command`; `tools`
- data files, outside of `site-packages`: `data`; `tools`
- a package that has no wheel: `sdist`, where it is installed by a step on top of wheel layers
- pins that conflict: `conflict`, where the later layer breaks the earlier one's package, and `replaced`, where it takes
  another version of it; `flyte` replaces a package of its base
- several declared layers: `layers`; `stacked`, `torch`; two of them with the same file: `shared`
- other things between and above the packages: `command`, `files`, `variables`
- what `uv sync` installs of a project with a lock: `project`, where some of it is in the base
- a base on top of which nothing has to be made: `data`, `files`
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import flyte
import pytest
from msgspec.structs import replace

from flytebuild import pipeline
from flytebuild.authoring.images import Reader
from flytebuild.graph import EnvironmentNode
from flytebuild.spec.layers import Binary, Pinned
from flytebuild.wheels import lockfile
from flytebuild.wheels.resolver import Moves
from tests.conftest import Machine
from tests.engine import packages
from tests.engine.building import Builds, Built, Member, gateway, in_registry

pytestmark = pytest.mark.engine

PYTHON = "docker.io/library/python:3.11-slim-bookworm"

LEFT_BEHIND = {"/opt/venv/.lock"}
"""What uv leaves in an environment that it installs into, and not in one that wheels are merged with."""

UV = ("/usr", "/usr/bin", "/usr/bin/uv")
"""What the layer of uv's program has; a copy onto a base that has the same one leaves no trace."""

TORCH = "https://download.pytorch.org/whl/cpu"
"""Where torch without CUDA is, unless the folder `TEST_WHEELS` has a wheel of it."""

WHEELS = os.environ.get("TEST_WHEELS", "")
"""Where it is set, heavy packages are compared as well, and all that runs in an image runs in both: that takes minutes.

`make test-wheels` sets it; the line that counts the tests says so where it is not set.
"""

HEAVY = pytest.param("heavy", marks=pytest.mark.timeout(7200))
"""Takes longer than any test may otherwise: 22 minutes on two busy cores."""

KINDS = ("light", HEAVY) if WHEELS else ("light",)

IMPORTS = {
    "native": "import zope.interface, zope.event, markupsafe; zope.interface.Interface",
    "google": "import google.rpc.status_pb2, google.protobuf.any_pb2",
    "scripts": "import subprocess; subprocess.run(['tabulate'], input=b'1', check=True)",
    "numpy": "import numpy; assert numpy.ones(3).sum() == 3",
    "replaced": "import urllib3; assert urllib3.__version__.startswith('2.')",
    "conflict": "import werkzeug, jinja2; assert jinja2.Template('{{ 1 }}').render() == '1'",
    "sdist": "import docopt, six; assert docopt.__version__ == '0.6.2'",
    "shared": "import common; assert common.owner == 'alpha'",
    "command": "import click, tabulate",
    "project": "import markupsafe, tabulate, wcwidth, flyte, rich; assert rich.__file__",
    "flyte": "import flyte, rich, numpy; assert numpy.ones(3).sum() == 3",
    "science": "import pandas, pyarrow, sklearn.svm; assert pandas.Series([1, 2]).sum() == 3",
    "stacked": "import pandas, sklearn.svm, pyarrow; pyarrow.Table.from_pandas(pandas.DataFrame({'a': [1]}))",
    "torch": "import torch, pandas; assert torch.ones(3).sum() == 3",
    "cloud": "import google.cloud.storage, google.api_core, cv2, cryptography.hazmat.bindings._rust",
    "tools": "import jupyter_core, IPython, matplotlib, sqlalchemy",
}
"""What runs in images of wheel layers."""

PACKAGES = "/opt/venv/lib/python3.11/site-packages"

HELD = {
    "native": f"{PACKAGES}/zope/interface/__init__.py",
    "google": f"{PACKAGES}/google/rpc/status_pb2.py",
    "scripts": "/opt/venv/bin/pygmentize",
    "data": "/opt/venv/etc/jupyter/jupyter_server_config.d/notebook_shim.json",
    "sdist": f"{PACKAGES}/docopt.py",
    "cloud": f"{PACKAGES}/google/cloud/storage/__init__.py",
    "tools": "/opt/venv/share/man/man1/ipython.1",
}
"""What must be in an image for it to have what it is there for."""

NAMESPACES = {f"{PACKAGES}/{name}/__init__.py" for name in ("zope", "google", "google/cloud")}
"""What no image may have, or its packages would share no folder."""

BROKEN = {"conflict"}
"""Those whose packages do not go together, whichever way they are installed."""

ON_TOP = {"data", "files"}
"""Those that are put on top of a base which has the virtual environment, with uv as a layer of its own."""

ODD: Mapping[str, list[str]] = {
    "replaced": ["layers", "chain", "layers"],
    "conflict": ["layers", "chain"],
    "flyte": ["chain", "layers"],
    "project": ["chain", "layers", "layers"],
}
"""How packages get into those images that are not made of wheel layers alone."""

PROJECT = """
[project]
name = "small"
version = "1"
requires-python = ">=3.10"
dependencies = ["MarkupSafe==3.0.2", "rich==14.1.0", "click", "colorama; sys_platform == 'win32'"]

[project.optional-dependencies]
wide = ["tabulate[widechars]==0.9.0"]

[dependency-groups]
dev = ["six"]
"""


@pytest.fixture(scope="module")
def builds(machine: Machine) -> Iterator[Builds]:
    with in_registry(machine) as made:
        yield made


@pytest.fixture
def index(builds: Builds, tmp_path: Path) -> Iterator[str]:
    """Packages of our own, and torch where the machine has it, at an address that steps reach as well."""
    folder = tmp_path / "index"
    for name in ("alpha", "beta"):
        place = folder / "simple" / name
        packages.wheel(place, name, "1", more={"common.py": f"owner = {name!r}\n"})
        packages.listed(place)
    for file in sorted(Path(WHEELS).glob("torch-*+cpu-cp311-*_x86_64.whl"))[:1] if WHEELS else ():
        place = folder / "simple" / "torch"
        place.mkdir()
        (place / file.name).symlink_to(file.resolve())
        packages.listed(place)
    with packages.serving(folder, gateway(builds.client)) as url:
        yield f"{url}/simple"


def project(folder: Path) -> Path:
    """The manifest of a project that uv has locked."""
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PROJECT)
    uv = Path(sysconfig.get_path("scripts")) / "uv"
    subprocess.run([uv, "lock", "--quiet", "--project", folder], check=True, timeout=600)
    return folder / "pyproject.toml"


def synced(image: flyte.Image, manifest: Path) -> flyte.Image:
    """An image with what a project depends on, and something on top."""
    chosen = image.with_uv_project(
        manifest,
        manifest.with_name("uv.lock"),
        extra_args="--no-dev --extra wide",
        project_install_mode="dependencies_only",
    )
    return chosen.with_pip_packages("iniconfig==2.0.0")


def light(builds: Builds, index: str, notes: Path) -> Mapping[str, flyte.Image]:
    """Namespaces, native code, scripts, data files, several layers, packages that take the place of others."""
    base = builds.named(flyte.Image.from_base(PYTHON).clone(python_version=(3, 11), name="x"))
    ours = partial(flyte.Image.with_pip_packages, index_url=index)
    return {
        "native": base.with_pip_packages("zope.interface==7.2", "zope.event==5.0", "MarkupSafe==3.0.2"),
        "google": base.with_pip_packages("googleapis-common-protos==1.70.0", "protobuf==6.31.1"),
        "scripts": base.with_pip_packages("pygments==2.19.2", "tabulate==0.9.0"),
        "data": builds.base.with_pip_packages("notebook-shim==0.2.4", extra_args="--no-deps"),
        "layers": base.with_pip_packages("click==8.2.1").with_pip_packages("rich==14.0.0"),
        "replaced": base.with_pip_packages("urllib3<2").with_pip_packages("urllib3==2.5.0", "six==1.17.0"),
        "conflict": base.with_pip_packages("flask==2.3.3").with_pip_packages("werkzeug==2.2.3"),
        "sdist": base.with_pip_packages("six==1.17.0").with_pip_packages("docopt==0.6.2"),
        "shared": ours(ours(base, "beta"), "alpha"),
        "command": base.with_pip_packages("tabulate==0.9.0")
        .with_commands(["echo 1 | tabulate >/srv/table"])
        .with_pip_packages("click==8.2.1"),
        "files": builds.base.with_pip_packages("tabulate==0.9.0")
        .with_workdir("/srv/app")
        .with_source_file(notes, "/srv/app/"),
        "numpy": base.with_pip_packages("numpy==2.3.1"),
        "flyte": builds.base.with_pip_packages("tabulate==0.9.0", "rich==14.1.0", "numpy==2.3.1"),
        "project": synced(builds.base, project(notes.parent / "project")),
        "variables": base.with_env_vars({"GREETING": "hello"}).with_pip_packages("pygments==2.19.2"),
    }


def heavy(builds: Builds, index: str, _: Path) -> Mapping[str, flyte.Image]:
    """What people have: large packages, alone and on top of each other, and many small ones with them."""
    base = builds.named(flyte.Image.from_base(PYTHON).clone(python_version=(3, 11), name="x"))
    torch = index if list(Path(WHEELS).glob("torch-*+cpu-cp311-*_x86_64.whl")) else TORCH
    return {
        "science": base.with_pip_packages("numpy", "pandas", "scikit-learn", "pyarrow"),
        "stacked": base.with_pip_packages("numpy<2.3")
        .with_pip_packages("pandas<3")
        .with_pip_packages("scikit-learn", "pyarrow"),
        "torch": base.with_pip_packages("torch", extra_index_urls=[torch]).with_pip_packages("pandas"),
        "cloud": base.with_pip_packages("google-cloud-storage", "opencv-python-headless", "cryptography"),
        "tools": base.with_pip_packages("jupyter-core", "ipython", "matplotlib", "sqlalchemy", "rich", "typer"),
    }


def lock(builds: Builds, images: Mapping[str, flyte.Image], file: Path) -> set[str]:
    """Lock images; returns the layers that cannot be."""
    nodes = [
        EnvironmentNode(name=name, file=None, depends_on=(), tasks=(), image=Reader().define(image, name))
        for name, image in images.items()
    ]
    made = asyncio.run(pipeline.lock(builds.settings, nodes, Moves()))
    lockfile.write(file, made)
    return {layer.asked for layer in made.unlocked}


def files(image: Built) -> dict[str, Member]:
    """What an image holds, but for times, which are those of the layers that folders came with."""
    # Of an instance of its own: one that is kept would keep all content as well.
    added = dataclasses.replace(image).added
    return {path: dataclasses.replace(member, time=0) for path, member in added.items() if path not in LEFT_BEHIND}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_files_by_both_recipes(kind: str, builds: Builds, index: str, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("notes")
    images = {"light": light, "heavy": heavy}[kind](builds, index, notes)
    given = replace(builds.settings, lock=tmp_path / "flytebuild.lock")
    unlocked = lock(builds, images, tmp_path / "flytebuild.lock")
    assert unlocked == ({"pip: docopt==0.6.2"} if kind == "light" else set())

    builds.settings = replace(given, lock=None)
    steps = builds.build({"project": images["project"]} if kind == "light" else {})
    builds.settings = replace(given, wheel_layers="off")
    pinned_steps = builds.build(images)
    if kind == "light":
        assert_same("project", steps["project"], pinned_steps["project"])
    steps = {**pinned_steps, **steps}
    builds.settings = given
    planned = builds.plan(images)
    layers = builds.build(images)

    pinned = {
        name: [step.layer.recipe for step in image.spec.steps if isinstance(step.layer, Pinned)]
        for image in planned.images
        for name in image.environments
        if image.spec
    }
    for name, expected in ODD.items():
        assert pinned.pop(name, expected) == expected
    assert {recipe for recipes in pinned.values() for recipe in recipes} == {"layers"}
    on_top = {
        name
        for image in planned.images
        for name in image.environments
        if image.spec and any(isinstance(step.layer, Binary) and step.layer.is_apart for step in image.spec.steps)
    }
    assert on_top == ON_TOP & images.keys()
    for name in images:
        assert_same(name, steps[name], layers[name])
    for name in images.keys() & IMPORTS.keys():
        told = running(layers[name], IMPORTS[name])
        assert ("do not go together" in told) == (name in BROKEN), name
        if WHEELS:
            assert running(steps[name], IMPORTS[name]) == told


def assert_same(name: str, steps: Built, layers: Built) -> None:
    """Both images of an environment have the same files and variables, and what they are there for."""
    one, other = files(steps), files(layers)
    for path in UV if name in ON_TOP else ():
        del other[path]
    assert one.keys() == other.keys(), name
    assert name not in HELD or HELD[name] in other, name
    assert not NAMESPACES & other.keys(), name
    assert [path for path, member in one.items() if other[path] != member] == [], name
    assert steps.config["Env"] == layers.config["Env"]


def running(image: Built, program: str) -> str:
    """What uv says of the packages in an image, whose program must end well."""
    told = "uv --quiet pip check || echo do not go together; uv --quiet pip freeze"
    return image.run("sh", "-ec", f'{told}; python -c "$PROGRAM"', environment={"PROGRAM": program})
