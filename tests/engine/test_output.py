"""Images as files: archives and layouts, of one platform and of several, built or fetched."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import docker
import pytest

from flytebuild.engine import EngineAddress
from tests.buildkit.doors import Engine, unix_door
from tests.conftest import Machine
from tests.engine.building import manifest
from tests.engine.conftest import Workspace
from tests.engine.test_build import repository_tags

pytestmark = pytest.mark.engine

BOTH = ("--platform", "linux/amd64", "--platform", "linux/arm64")
MAIN = """
from pathlib import Path
import flyte

def image(folder, name, *platforms):
    file = Path(__file__).parent / folder / "Dockerfile"
    return flyte.Image.from_dockerfile(file, "REGISTRY", name, platform=platforms)

serving = flyte.TaskEnvironment("serving", image=image("service", "serving", "linux/amd64"))
there = flyte.TaskEnvironment("there", image=image("files", "there", "linux/amd64", "linux/arm64"))
apart = flyte.TaskEnvironment("apart", image=image("other", "apart", "linux/amd64", "linux/arm64"))
"""


@pytest.fixture
def project(workspace: Workspace) -> Workspace:
    workspace.write(
        {
            "main.py": MAIN.replace("REGISTRY", workspace.registry),
            "service/Dockerfile": f"FROM ghcr.io/acme/service:1\nUSER root\nRUN echo {workspace.registry} >/made\n",
            "files/Dockerfile": "FROM ghcr.io/acme/copyonly:1\nCOPY notes /notes\n",
            "files/notes": workspace.registry,
            "other/Dockerfile": "FROM ghcr.io/acme/copyonly:1\nCOPY notes /others\n",
            "other/notes": workspace.registry,
        }
    )
    return workspace


def written(project: Workspace, output: str, *arguments: str) -> dict[str, dict[str, Any]]:
    """What a build with files as its output says of each environment's image that was written."""
    told = project.flytebuild("build", "--json", "--output", output, "main.py", *arguments)
    images = json.loads(told.stdout)["images"]
    return {name: image for image in images if image["file"] for name in image["environments"]}


def check(layout: Path) -> dict[str, Any]:
    """The one entry of a layout, whose blobs are all there and what they are called."""
    for blob in (layout / "blobs/sha256").iterdir():
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    assert json.loads((layout / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
    found: dict[str, Any] = entry
    return found


def blob(layout: Path, digest: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes())
    return found


def test_an_archive_is_loaded_by_an_engine(project: Workspace) -> None:
    for_serving = ("--for", "serving", "--platform", "linux/amd64")
    made = written(project, "oci-archive:images", *for_serving)["serving"]
    assert (made["result"], made["file"]) == ("written", "images/serving.tar")
    # Nothing is published, and nothing half made is left.
    assert project.plan("main.py", *for_serving)["images"][0]["status"] == "missing"
    assert [path.name for path in (project.folder / "images").iterdir()] == ["serving.tar"]
    client = docker.from_env()
    try:
        with (project.folder / made["file"]).open("rb") as archive:
            (image,) = client.images.load(archive)
        assert made["reference"] in image.tags
        assert image.labels["dev.flytebuild.image"] == made["digest"]
        look = ["-c", "cat /made"]
        said = client.containers.run(made["reference"], look, entrypoint="/bin/sh", user="root", remove=True)
        assert said.decode().strip() == project.registry
        client.images.remove(made["reference"], force=True)
    finally:
        client.close()

    refused = project.flytebuild("build", "--output", "tar:images", "main.py", code=64)
    assert "hint: `oci-archive:FOLDER`" in refused.stderr
    (project.folder / "occupied").touch()
    refused = project.flytebuild("build", "--output", "oci:occupied", "main.py", *for_serving, code=74)
    assert "error: Images cannot be written to `occupied`" in refused.stderr


def test_an_image_for_several_platforms_is_one_layout_and_one_archive(project: Workspace) -> None:
    environments = ("--for", "there", "--for", "apart", *BOTH)
    project.flytebuild("build", "main.py", "--for", "there", *BOTH)
    made = written(project, "oci:images", *environments)
    assert {name: image["file"] for name, image in made.items()} == {"there": "images/there", "apart": "images/apart"}
    for name, image in made.items():
        layout = project.folder / image["file"]
        entry = check(layout)
        assert entry["digest"] == image["manifest"]
        assert entry["annotations"]["io.containerd.image.name"] == image["reference"]
        index = blob(layout, entry["digest"])
        assert index["annotations"]["dev.flytebuild.image"] == image["digest"]
        platforms = {item["platform"]["architecture"]: item["digest"] for item in index["manifests"]}
        assert set(platforms) == {"amd64", "arm64"}
        for architecture, digest in platforms.items():
            member = blob(layout, digest)
            assert blob(layout, member["config"]["digest"])["architecture"] == architecture
            assert all((layout / "blobs/sha256" / item["digest"][7:]).is_file() for item in member["layers"])
        if name == "there":
            # What a registry has is what is written, byte for byte.
            assert index == manifest(image["reference"])
    assert repository_tags(project.registry, "apart") == set()

    # Once more, over what is there, and as archives.
    assert written(project, "oci:images", *environments)["there"]["manifest"] == made["there"]["manifest"]
    archived = written(project, "oci-archive:images", "--for", "there", *BOTH)["there"]
    with tarfile.open(project.folder / archived["file"]) as archive:
        names = {item.name for item in archive}
    layout = project.folder / made["there"]["file"]
    assert names == {str(path.relative_to(layout)) for path in layout.rglob("*") if path.is_file()}


def test_a_builder_that_keeps_no_images_needs_no_registry_to_write_files(
    project: Workspace, machine: Machine, tmp_path: Path
) -> None:
    project.write({"main.py": MAIN.replace('"REGISTRY"', "None")})
    buildkit = Engine(EngineAddress(machine.docker_host, "the test")).buildkit
    with unix_door(tmp_path / "builder.sock", buildkit) as path:
        environ = {"BUILDKIT_HOST": f"unix://{path}", "FLYTEBUILD_REGISTRY": ""}
        built = ("build", "--for", "serving", "--platform", "linux/amd64", "main.py")
        refused = project.flytebuild(*built, code=64, **environ)
        assert "The images need a registry" in refused.stderr
        done = project.flytebuild(*built, "--output", "oci:images", **environ)
    assert "serving: wrote images/serving in " in done.stderr
    check(project.folder / "images/serving")
