"""Environments of real packages, built both ways: the same files from wheel layers as from steps."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import flyte
import pytest
from msgspec.structs import replace

from flytebuild import pipeline
from flytebuild.authoring.images import Reader
from flytebuild.graph import EnvironmentNode
from flytebuild.spec.layers import Pinned
from flytebuild.wheels import lockfile
from flytebuild.wheels.resolver import Moves
from tests.conftest import Machine
from tests.engine.building import Builds, Built, Member, in_registry

pytestmark = pytest.mark.engine

PYTHON = "docker.io/library/python:3.11-slim-bookworm"

LEFT_BEHIND = {"/opt/venv/.lock"}
"""What uv leaves in an environment that it installs into, and not in one that wheels are merged with."""

RUNS = {
    "native": "import zope.interface, zope.event, markupsafe; zope.interface.Interface",
    "google": "import google.rpc.status_pb2, google.protobuf.any_pb2",
    "scripts": "import subprocess; subprocess.run(['tabulate'], input=b'1', check=True)",
    "numpy": "import numpy; assert numpy.ones(3).sum() == 3",
    "replaced": "import urllib3; assert urllib3.__version__.startswith('2.')",
    "command": "import click, tabulate",
    "flyte": "import flyte, rich, numpy; assert numpy.ones(3).sum() == 3",
}
"""What runs in images of wheel layers, whose packages must also go together."""


@pytest.fixture(scope="module")
def builds(machine: Machine) -> Iterator[Builds]:
    with in_registry(machine) as made:
        yield made


def environments(builds: Builds, notes: Path) -> Mapping[str, flyte.Image]:
    """Namespaces, native code, scripts, data files, several layers, packages that take the place of others."""
    base = builds.named(flyte.Image.from_base(PYTHON).clone(python_version=(3, 11), name="x"))
    return {
        "alone": base.with_pip_packages("six==1.17.0"),
        "native": base.with_pip_packages("zope.interface==7.2", "zope.event==5.0", "MarkupSafe==3.0.2"),
        "google": base.with_pip_packages("googleapis-common-protos==1.70.0", "protobuf==6.31.1"),
        "scripts": base.with_pip_packages("pygments==2.19.2", "tabulate==0.9.0"),
        "data": base.with_pip_packages("notebook-shim==0.2.4", extra_args="--no-deps"),
        "layers": base.with_pip_packages("click==8.2.1").with_pip_packages("rich==14.0.0"),
        "replaced": base.with_pip_packages("urllib3<2").with_pip_packages("urllib3==2.5.0", "six==1.17.0"),
        "command": base.with_pip_packages("tabulate==0.9.0")
        .with_commands(["echo 1 | tabulate >/srv/table"])
        .with_pip_packages("click==8.2.1"),
        "files": base.with_pip_packages("six==1.17.0").with_workdir("/srv/app").with_source_file(notes, "/srv/app/"),
        "numpy": base.with_pip_packages("numpy==2.3.1"),
        "flyte": builds.base.with_pip_packages("tabulate==0.9.0", "rich==14.1.0", "numpy==2.3.1"),
        "variables": base.with_env_vars({"GREETING": "hello"}).with_pip_packages("pygments==2.19.2"),
    }


def lock(builds: Builds, images: Mapping[str, flyte.Image], file: Path) -> None:
    nodes = [
        EnvironmentNode(name=name, file=None, depends_on=(), tasks=(), image=Reader().define(image, name))
        for name, image in images.items()
    ]
    lockfile.write(file, asyncio.run(pipeline.lock(builds.settings, nodes, Moves())))


def files(image: Built) -> dict[str, Member]:
    """What an image holds, but for times, which are those of the layers that folders came with."""
    # Of an instance of its own: one that is kept would keep all content as well.
    added = dataclasses.replace(image).added
    return {path: dataclasses.replace(member, time=0) for path, member in added.items() if path not in LEFT_BEHIND}


def test_the_same_files_by_both_recipes(builds: Builds, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("notes")
    images = environments(builds, notes)
    given = replace(builds.settings, lock=tmp_path / "flytebuild.lock")
    lock(builds, images, tmp_path / "flytebuild.lock")

    builds.settings = replace(given, wheel_layers="off")
    steps = builds.build(images)
    builds.settings = given
    planned = builds.plan(images)
    layers = builds.build(images)

    pinned = {
        name: [step.layer.recipe for step in image.spec.steps if isinstance(step.layer, Pinned)]
        for image in planned.images
        for name in image.environments
        if image.spec
    }
    assert pinned.pop("replaced") == ["layers", "chain", "layers"]
    assert pinned.pop("flyte") == ["chain", "layers"]
    assert {recipe for recipes in pinned.values() for recipe in recipes} == {"layers"}
    for name in images:
        one, other = files(steps[name]), files(layers[name])
        assert one.keys() == other.keys(), name
        assert [path for path, member in one.items() if other[path] != member] == [], name
        assert steps[name].config["Env"] == layers[name].config["Env"]
    for name, program in RUNS.items():
        # Raises unless it ends well.
        layers[name].run("sh", "-ec", 'uv --quiet pip check && python -c "$PROGRAM"', environment={"PROGRAM": program})
