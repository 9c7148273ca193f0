"""Every way to start an image, in one plan of tasks and apps."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import docker
import pytest

from flytebuild.build.labels import IMAGE, SPEC
from tests.conftest import Machine
from tests.engine import packages
from tests.engine.building import Built, manifest
from tests.engine.conftest import Workspace, workspace_in

pytestmark = pytest.mark.engine

MAIN = """
from pathlib import Path

import flyte
from flyte.app import AppEnvironment

HERE = Path(__file__).parent
debian = flyte.Image.from_debian_base

plain = debian(python_version=(3, 11), install_flyte=False, name="plain")
newer = debian(python_version=(3, 13), install_flyte=False, name="newer")
images = {
    "released": debian(python_version=(3, 11), name="released").with_env_vars({"A": "1"}),
    "released_313": debian(python_version=(3, 13), name="released").with_env_vars({"A": "1"}),
    "plain": plain,
    "newer": newer,
    "script": flyte.Image.from_uv_script(HERE / "script.py", name="script", python_version=(3, 11)),
    "pixi": flyte.Image.from_pixi_script(HERE / "pixi_script.py", name="pixi"),
    "file": flyte.Image.from_dockerfile(HERE / "docker" / "My.Dockerfile", registry="REGISTRY", name="file"),
    "named": flyte.Image.from_ref_name("team").clone(name="named", extendable=True).with_env_vars({"A": "1"}),
    "as_it_is": flyte.Image.from_ref_name("team"),
    "base": flyte.Image.from_base("ghcr.io/acme/service:1"),
    "text": "ghcr.io/acme/service:1",
    "cloned": plain.clone(name="cloned"),
}
environments = {name: flyte.TaskEnvironment(name, image=image) for name, image in images.items()}

with_app = images["released"].with_commands(["echo app >/app"])
app = AppEnvironment("app", image=with_app, depends_on=[environments["plain"]])
"""

SCRIPT = """# /// script
# requires-python = ">=3.10,<3.13"
# dependencies = ["six==1.16.0", "tool @ file://FOLDER"]
# [tool.uv]
# exclude-newer = "2026-01-01T00:00:00Z"
# ///
"""

PIXI_SCRIPT = """# /// script
# requires-python = ">=3.11"
# dependencies = ["six"]
# [tool.pixi.dependencies]
# gdal = "*"
# ///
"""

DOCKERFILE = """# syntax=docker/dockerfile:1
ARG PYTHON=3.11
FROM python:${PYTHON}-slim-bookworm AS first
RUN echo made >/made
FROM ghcr.io/acme/copyonly:1
COPY --from=first /made /made
COPY --from=ghcr.io/acme/service:1 /bin/busybox /bin/busybox
COPY . /context/
LABEL theirs="a label" dev.flytebuild.image=none
ENTRYPOINT ["/bin/busybox"]
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, machine: Machine) -> Iterator[Workspace]:
    folder = tmp_path_factory.mktemp("constructors") / "project"
    registry = f"{machine.registry}/t{secrets.token_hex(6)}"
    with workspace_in(folder, machine, registry) as made:
        tool = packages.source(folder / "tool", "tool")
        made.write(
            {
                "main.py": MAIN.replace("REGISTRY", registry),
                "script.py": SCRIPT.replace("FOLDER", str(tool)),
                "pixi_script.py": PIXI_SCRIPT,
                "pixi_script.py.pixi.lock": "version: 6\n",
                "docker/My.Dockerfile": DOCKERFILE,
                "docker/kept.txt": "kept",
                "docker/dropped.txt": "dropped",
                "docker/.dockerignore": "dropped.txt\n*.Dockerfile\n",
                ".flyte/config.yaml": "image:\n  image_refs:\n    team: ghcr.io/flyteorg/flyte:py3.11-v2.12.1\n",
            }
        )
        yield made


@pytest.fixture(scope="module")
def built(project: Workspace) -> dict[str, dict[str, Any]]:
    """What the build says of each environment's image."""
    document = json.loads(project.flytebuild("build", "--json", "main.py").stdout)
    return {name: image for image in document["images"] for name in image["environments"]}


@pytest.fixture(scope="module")
def images(built: dict[str, dict[str, Any]]) -> Iterator[dict[str, Built]]:
    client = docker.from_env()
    yield {name: Built(image["reference"], 0, client) for name, image in built.items()}
    for reference in {image["reference"] for image in built.values() if image["result"] == "built"}:
        # What no test has run was not pulled.
        with suppress(docker.errors.ImageNotFound):
            client.images.remove(reference, force=True)
    client.close()


def test_what_has_to_be_built_is_built(built: dict[str, dict[str, Any]], project: Workspace) -> None:
    results = {name: image["result"] for name, image in built.items()}
    used = {"as_it_is", "base", "text"}
    assert {name for name, result in results.items() if result == "external"} == used
    assert set(results) == {
        *used,
        *("released", "released_313", "plain", "newer", "script", "pixi", "file", "named", "cloned", "app"),
    }
    told: dict[str, list[str]] = {}
    for name in results.keys() - used:
        told.setdefault(built[name]["digest"], []).append(results[name])
    # Of several images of one digest only one is built.
    assert all(sorted(items) == ["built", *["re-tagged"] * (len(items) - 1)] for items in told.values()), results
    again = project.statuses("main.py")
    assert {status for name, status in again.items() if name not in used} == {"present"}


def test_references_are_those_that_were_asked_for(built: dict[str, dict[str, Any]]) -> None:
    assert built["as_it_is"]["reference"] == "ghcr.io/flyteorg/flyte:py3.11-v2.12.1"
    assert {built[name]["reference"] for name in ("base", "text")} == {"ghcr.io/acme/service:1"}
    assert built["plain"]["digest"] == built["cloned"]["digest"]
    assert "/plain:" in built["plain"]["reference"]
    assert "/cloned:" in built["cloned"]["reference"]


@pytest.mark.parametrize(("name", "python"), [("released", "3.11"), ("released_313", "3.13")])
def test_flyte_s_own_image(images: dict[str, Built], name: str, python: str) -> None:
    text = "import flyte, sys; print(sys.version_info[:2], sys.prefix, flyte.__version__)"
    assert images[name].sh(f"id -un; pwd; echo $A; python -c '{text}'") == [
        *("flyte", "/home/flyte", "1"),
        f"({python.replace('.', ', ')}) /opt/venv 2.12.1",
    ]


@pytest.mark.parametrize(("name", "python"), [("plain", "3.11"), ("newer", "3.13")])
def test_a_debian_image_without_flyte(images: dict[str, Built], name: str, python: str) -> None:
    image = images[name]
    assert image.config["User"] == "flyte"
    assert image.config["WorkingDir"] == "/home/flyte"
    labels = image.config["Labels"]
    assert labels["org.opencontainers.image.authors"] == "Union.AI <info@union.ai>"
    assert labels["org.opencontainers.image.source"] == "https://github.com/flyteorg/flyte"
    env = image.env
    assert env["PYTHONPATH"] == "/root"
    assert env["VIRTUAL_ENV"] == env["VIRTUALENV"] == "/opt/venv"
    assert env["PATH"].startswith("/opt/venv/bin:")
    look = "id -un; pwd; stat -c %U . /root /root/.bashrc; touch here; python -c 'import sys; print(sys.version[:4])'"
    assert image.sh(look) == ["flyte", "/home/flyte", "flyte", "flyte", "flyte", python]
    look = "! python -c 'import flyte' 2>/dev/null; gcc --version | head -1 | cut -c1-3; ls /etc/ssl/certs/ca-cert*.crt"
    assert image.sh(look) == ["gcc", "/etc/ssl/certs/ca-certificates.crt"]


def test_a_script_s_image(images: dict[str, Built]) -> None:
    text = "import six, tool; print(six.__version__, tool.where)"
    assert images["script"].sh(f"python -c '{text}'; git --version | cut -c1-3; id -un") == [
        "1.16.0 /opt/venv/lib/python3.11/site-packages/tool/__init__.py",
        *("git", "flyte"),
    ]


def test_a_pixi_script_s_image(images: dict[str, Built]) -> None:
    look = "cd /var/lib/pixi-stand-in/1; cat arguments | tr '\\n' ' '; cat pixi.toml; cat pixi.lock; which python"
    arguments, *lines = images["pixi"].sh(look)
    assert arguments.startswith("install --manifest-path /opt/pixi-project/pixi.toml --environment default --locked ")
    assert any("gdal" in line for line in (arguments, *lines))
    assert "version: 6" in lines
    assert lines[-1] == "/opt/pixi-project/.pixi/envs/default/bin/python"


def test_an_image_by_a_dockerfile(images: dict[str, Built], built: dict[str, dict[str, Any]]) -> None:
    image = images["file"]
    assert image.run("cat", "/made") == "made\n"
    assert image.run("ls", "-A", "/context") == ".dockerignore\nkept.txt\n"
    labels = image.config["Labels"]
    assert labels["theirs"] == "a label"
    assert labels[IMAGE] == built["file"]["digest"]
    (layer,) = json.loads(labels[SPEC])["layers"]
    assert set(layer["spec"]["images"]) == {
        "python:3.11-slim-bookworm",
        "ghcr.io/acme/copyonly:1",
        "ghcr.io/acme/service:1",
    }
    assert all(item["image"].startswith("sha256:") for item in layer["spec"]["images"].values())


def test_an_image_by_its_name_in_the_configuration(images: dict[str, Built], built: dict[str, dict[str, Any]]) -> None:
    assert images["named"].sh("id -un; python -c 'import flyte'; echo $A") == ["flyte", "1"]
    assert built["named"]["digest"] == built["released"]["digest"]


def test_an_app_s_image(images: dict[str, Built]) -> None:
    assert images["app"].sh("cat /app; echo $A") == ["app", "1"]


def test_a_dockerfile_s_context_is_part_of_the_image(project: Workspace, built: dict[str, dict[str, Any]]) -> None:
    place = project.folder / "docker"
    (place / "dropped.txt").write_text("changed")
    assert project.statuses("--for", "file", "main.py") == {"file": "present"}
    (place / "kept.txt").write_text("changed")
    assert project.statuses("--for", "file", "main.py") == {"file": "missing"}
    (place / "kept.txt").write_text("kept")
    # Left out of the context, but what the image is made by.
    (place / "My.Dockerfile").write_text(DOCKERFILE.replace("made >", "remade >"))
    assert project.statuses("--for", "file", "main.py") == {"file": "missing"}
    (place / "My.Dockerfile").write_text(DOCKERFILE)


@pytest.mark.parametrize(
    ("line", "step", "told"),
    [
        ("RUN echo why; exit 9", "RUN echo why; exit 9", "why"),
        ("NO x", "step failed: reading the Dockerfile Dockerfile", ""),
    ],
)
def test_a_dockerfile_that_fails_is_told_with_the_image_s_place(
    project: Workspace, line: str, step: str, told: str
) -> None:
    project.write(
        {
            "wrong/main.py": "import flyte\nfrom pathlib import Path\n\n"
            "dockerfile = Path(__file__).parent / 'Dockerfile'\n"
            f"image = flyte.Image.from_dockerfile(dockerfile, '{project.registry}', 'wrong')\n"
            "env = flyte.TaskEnvironment('wrong', image=image)\n",
            "wrong/Dockerfile": f"FROM ghcr.io/acme/service:1\n{line}\n",
        }
    )
    failed = project.flytebuild("build", "wrong", code=1)
    assert f"{step}  (image of `wrong`)\n  written at wrong/main.py:5, Dockerfile:2\n  {told}" in failed.stderr
    assert ("exit code: 9" in failed.stderr) == bool(told)


def test_the_mirror_is_asked_and_named_nowhere(machine: Machine, images: dict[str, Built]) -> None:
    mirrored = json.dumps(images["plain"].config) + json.dumps(manifest(images["plain"].reference))
    assert machine.mirrors["docker.io"] not in mirrored
