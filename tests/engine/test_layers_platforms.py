"""Images for several platforms: one image each, and an index of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.conftest import Machine
from tests.engine.building import Builds, manifest, output_of
from tests.engine.conftest import Workspace

pytestmark = pytest.mark.engine

BOTH = ("--platform", "linux/amd64", "--platform", "linux/arm64")
PLATFORMS = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}

MAIN = """
from pathlib import Path
import flyte

flyte_base = flyte.Image.from_debian_base(python_version=(3, 11), name="run")
executing = flyte.TaskEnvironment("executing", image=flyte_base.with_commands(["uname -m >/machine"])
    .with_source_file(Path(__file__), "/data/").with_pip_packages("six==1.16.0"))
copied = flyte.TaskEnvironment("copied", image=flyte.Image.from_dockerfile(
    Path(__file__).parent / "docker" / "Dockerfile", "REGISTRY", "copied", platform=("linux/amd64", "linux/arm64")))
"""

OTHERS = """
import flyte

def image(base, **options):
    return flyte.Image.from_base(base).clone(name="other", extendable=True, **options).with_env_vars({"A": "1"})

one = flyte.TaskEnvironment("one", image=image("ghcr.io/flyteorg/flyte:py3.11-v2.12.1", platform="linux/amd64"))
foreign = flyte.TaskEnvironment("foreign", image=image("ghcr.io/acme/foreign:1"))
failing = flyte.TaskEnvironment("failing", image=flyte.Image.from_debian_base(python_version=(3, 11), name="other")
    .with_commands(['test "$(uname -m)" = x86_64']))
"""


@pytest.fixture
def project(workspace: Workspace) -> Workspace:
    workspace.write(
        {
            "platforms/main.py": MAIN.replace("REGISTRY", workspace.registry),
            "platforms/docker/Dockerfile": "FROM ghcr.io/acme/copyonly:1\nCOPY notes /notes\n",
            "platforms/docker/notes": "notes",
            "others.py": OTHERS,
        }
    )
    return workspace


def by_environment(images: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [image for image in images if name in image["environments"]]


def test_an_index_of_an_image_for_each_platform(project: Workspace, other_platform: str) -> None:
    environments = project.plan("platforms", *BOTH)["environments"]
    references = {item["name"]: item["image"] for item in environments}
    built = json.loads(project.flytebuild("build", "platforms", "--json", *BOTH).stdout)["images"]
    assert {image["result"] for image in built} == {"built"}
    for name in ("executing", "copied"):
        assert len(by_environment(built, name)) == 3
        index = manifest(references[name])
        assert index["mediaType"] == "application/vnd.oci.image.index.v1+json"
        found = {f"{item['platform']['os']}/{item['platform']['architecture']}": item for item in index["manifests"]}
        assert set(found) == set(PLATFORMS)
        repository = references[name].rpartition(":")[0]
        for platform, item in found.items():
            assert manifest(f"{repository}@{item['digest']}")["layers"]
            (image,) = [image for image in built if image["manifest"] == item["digest"]]
            assert image["reference"].startswith(f"{repository}:b3-")
            assert platform
    client = docker.from_env()
    script = ["sh", "-c", "cat /machine; python -c 'import six, platform; print(six.__version__, platform.machine())'"]
    try:
        for platform, machine in PLATFORMS.items():
            said = output_of(client, references["executing"], script, platform=platform)
            assert said.split() == [machine, "1.16.0", machine]
    finally:
        client.images.remove(references["executing"], force=True)
        client.close()
    images = project.plan("platforms", *BOTH)["images"]
    assert {image["status"] for image in images} == {"present"}
    assert "nothing to build" in project.flytebuild("build", "platforms", *BOTH).stderr
    alone = project.plan("platforms", "--platform", "linux/amd64")["images"]
    assert {image["status"] for image in alone} == {"present"}


def test_copies_need_no_emulation(project: Workspace) -> None:
    """What a Dockerfile only copies is built for any platform, whatever the engine runs."""
    built = json.loads(
        project.flytebuild("build", "platforms", "--for", "copied", "--json", "--platform", "linux/arm64").stdout
    )
    (image,) = built["images"]
    config = manifest(image["reference"])["config"]["digest"]
    assert config.startswith("sha256:")
    assert image["result"] == "built"


def test_the_configuration_names_platforms(project: Workspace) -> None:
    (project.folder / "flytebuild.toml").write_text('platforms = ["linux/arm64", "linux/amd64"]\n')
    images = project.plan("platforms", "--for", "copied")["images"]
    assert [image["platforms"] for image in images] == [
        ["linux/arm64"],
        ["linux/amd64"],
        ["linux/arm64", "linux/amd64"],
    ]


def test_the_engine_s_store_holds_no_index(project: Workspace) -> None:
    command = ("build", "platforms", "--for", "executing", *BOTH)
    failed = project.flytebuild(*command, code=64, FLYTEBUILD_REGISTRY="")
    assert "error: An image for several platforms needs a registry" in failed.stderr
    assert "hint: set `registry`, or build for one platform" in failed.stderr


def test_an_image_for_another_platform_is_refused(project: Workspace) -> None:
    failed = project.flytebuild("plan", "others.py", "--for", "one", "--platform", "linux/arm64", code=65)
    assert "error: The image of environment `one` (others.py:" in failed.stderr
    assert "is for `linux/amd64`, not for `linux/arm64`" in failed.stderr


def test_a_base_that_is_not_there_for_the_platform(project: Workspace, machine: Machine) -> None:
    native = machine.platforms[0]
    command = ("others.py", "--for", "foreign", "--platform", native)
    for verb in ("plan", "build"):
        told = project.flytebuild(verb, *command, code=65).stderr
        assert "error: The image of environment `foreign` (others.py:" in told
        assert "ghcr.io/acme/foreign:1` is for" in told
        assert f"not for `{native}`" in told


def test_an_index_that_lacks_an_image_is_not_published(project: Workspace) -> None:
    reference = project.plan("others.py", "--for", "failing", *BOTH)["environments"][0]["image"]
    failed = project.flytebuild("build", "others.py", "--for", "failing", "--json", *BOTH, code=1)
    results = {image["reference"]: image["result"] for image in json.loads(failed.stdout)["images"]}
    assert sorted(results.values()) == ["built", "failed", "failed"]
    assert results[reference] == "failed"
    assert failed.stderr.count("step failed: ") == 1
    statuses = [image["status"] for image in project.plan("others.py", "--for", "failing", *BOTH)["images"]]
    assert statuses == ["present", "missing", "missing"]


def test_a_program_for_another_processor(builds: Builds, tmp_path: Path) -> None:
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00" + b"\x16\x00" + b"\x01\x00\x00\x00" + bytes(40)
    (tmp_path / "program").write_bytes(header)
    (tmp_path / "program").chmod(0o755)
    image = builds.base.with_source_file(tmp_path / "program", "/bin/").with_commands(['["/bin/program"]'])
    failure = builds.failure(builds.plan({"foreign": image}))
    assert "exec format error" in " ".join(failure.log)
    assert "tonistiigi/binfmt" in failure.hint
