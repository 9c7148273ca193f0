"""The base images: which there are, what stands in for what, and that they are what their names promise."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from importlib.metadata import version

import docker
import pytest

from flytebuild.registry import reference as references
from scripts.machine import bases
from scripts.machine.catalogue import ALL, NEEDED, SUITES, Base, select
from scripts.machine.debian import architecture, other_architecture
from scripts.machine.push import Repository
from scripts.machine.report import MachineError
from tests.conftest import Machine

FLYTE = version("flyte")

Run = Callable[..., str]


@pytest.fixture
def client(machine: Machine) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=machine.docker_host, timeout=300)
    yield client
    client.close()


def mirrored(machine: Machine, reference: str) -> str:
    return references.mirrored(reference, machine.mirrors)


@pytest.fixture
def run(machine: Machine, client: docker.DockerClient) -> Run:
    """Runs a command in a base; what it says."""

    def run(reference: str, command: list[str] | None = None, **options: str) -> str:
        image = mirrored(machine, reference)
        client.images.pull(image, platform=options.get("platform"))
        said = client.containers.run(image, command, remove=True, stderr=True, **options)
        return bytes(said).decode()

    return run


def test_what_is_needed_is_uv_and_flyte() -> None:
    names = [base.name for base in select(NEEDED)]
    assert names[0] == "uv"
    assert names[1].startswith("flyte3.")
    assert len(names) == 2


def test_a_list_is_made_for_this_machine_and_all_for_two() -> None:
    (one,) = select("flyte3.11", "1.2.3")
    assert (one.reference, one.architectures) == ("ghcr.io/flyteorg/flyte:py3.11-v1.2.3", (architecture(),))
    both = next(base for base in select(ALL, "1.2.3") if base.name == "flyte3.11")
    assert both.architectures == (architecture(), other_architecture())


def test_an_unknown_base_is_refused_with_the_names_that_there_are() -> None:
    with pytest.raises(MachineError, match=r"No base is called `flyte2\.7`") as caught:
        select("uv,flyte2.7")
    assert caught.value.exit_code == 64
    assert "`all`, `needed`" in (caught.value.hint or "")
    assert "python3.13" in (caught.value.hint or "")


def test_only_what_is_not_elsewhere_is_mirrored_when_a_registry_can_be_reached() -> None:
    published = Base("uv", "ghcr.io", "astral-sh/uv", "1", ("amd64",))
    own = Base("service", "ghcr.io", "acme/service", "1", ("amd64",), is_published=False)
    assert bases.mirrors(5100, [own]) == {"ghcr.io/acme/service": "127.0.0.1:5100/ghcr.io/acme/service"}
    assert bases.mirrors(5100, [own, published]) == {"ghcr.io": "127.0.0.1:5100/ghcr.io"}


@pytest.mark.engine
@pytest.mark.parametrize("python", SUITES)
def test_flyte_is_what_the_sdk_expects(run: Run, python: str) -> None:
    program = "import flyte, os, sys; print(flyte.__version__, os.getcwd(), os.getuid() != 0, sys.executable)"
    said = run(f"ghcr.io/flyteorg/flyte:py{python}-v{FLYTE}", ["python", "-c", program])
    assert said.splitlines()[-1].split()[1:] == ["/home/flyte", "True", "/opt/venv/bin/python"]


@pytest.mark.engine
@pytest.mark.parametrize("python", SUITES)
def test_python_is_where_the_slim_image_has_it(run: Run, python: str) -> None:
    reference = f"docker.io/library/python:{python}-slim-bookworm"
    names = ("python", "python3", f"python{python}")
    said = run(reference, ["sh", "-c", f"for name in {' '.join(names)}; do command -v $name; done; python -V; id -u"])
    *places, number, user = said.split("\n")[:-1]
    assert places == [f"/usr/local/bin/{name}" for name in names]
    assert number.startswith(f"Python {python}.")
    assert user == "0"


@pytest.mark.engine
@pytest.mark.parametrize("module", ["json", "flyte"])
def test_what_is_compiled_is_used(run: Run, module: str) -> None:
    said = run(f"ghcr.io/flyteorg/flyte:py3.11-v{FLYTE}", ["python", "-v", "-c", f"import {module}"])
    assert f"/{module}/__pycache__/__init__.cpython-311.pyc matches " in said


@pytest.mark.engine
def test_flyte_runs_on_another_architecture(run: Run, other_platform: str) -> None:
    program = "import flyte, platform; print(platform.machine())"
    command = ["sh", "-c", f"python -c '{program}'; dpkg --print-architecture; dpkg --audit"]
    said = run(f"ghcr.io/flyteorg/flyte:py3.11-v{FLYTE}", command, platform=other_platform)
    machines = {"linux/arm64": ["aarch64", "arm64"], "linux/amd64": ["x86_64", "amd64"]}
    assert said.split() == machines[other_platform]


@pytest.mark.engine
def test_packages_are_installed_on_another_architecture(run: Run, other_platform: str) -> None:
    """With nothing but what is in the root: the package that is built here has neither files nor dependencies."""
    script = (
        "mkdir -p /p/DEBIAN && printf 'Package: p\\nVersion: 1\\nArchitecture: "
        f"{other_platform.removeprefix('linux/')}\\nMaintainer: x <x@example.com>\\nDescription: x\\n'"
        " >/p/DEBIAN/control && dpkg-deb --build /p /p.deb >/dev/null"
        " && dpkg --install /p.deb >/dev/null && ldconfig && dpkg --status p | grep ^Status"
    )
    reference = "docker.io/library/python:3.11-slim-bookworm"
    assert "install ok installed" in run(reference, ["sh", "-c", script], platform=other_platform)


@pytest.mark.engine
def test_a_service_says_all_that_an_image_can_say(machine: Machine, client: docker.DockerClient, run: Run) -> None:
    said = run("ghcr.io/acme/service:1")
    assert said == "entrypoint: echo served by default\nserved by default\n"
    config = client.images.get(mirrored(machine, "ghcr.io/acme/service:1")).attrs["Config"]
    assert (config["User"], config["WorkingDir"], config["StopSignal"]) == ("app", "/srv/app", "SIGINT")
    assert config["Labels"]["com.example.team"] == "imaging"
    assert "LD_LIBRARY_PATH=/opt/acme/lib" in config["Env"]
    assert run("ghcr.io/acme/service:1", ["id", "-un"]).splitlines()[-1] == "app"


@pytest.mark.engine
def test_bases_are_for_the_architectures_that_they_are_made_for(machine: Machine) -> None:
    found = {}
    for base in select("service,copyonly,foreign"):
        host, _, path = mirrored(machine, base.reference).removesuffix(f":{base.tag}").partition("/")
        found[base.name] = Repository(int(host.rpartition(":")[2]), path).architectures(base.tag)
    assert found == {
        "service": {architecture()},
        "copyonly": {architecture(), other_architecture()},
        "foreign": {other_architecture()},
    }


@pytest.mark.engine
def test_the_stand_in_for_pixi_says_what_it_was_asked(machine: Machine, client: docker.DockerClient) -> None:
    stand_in = mirrored(machine, "ghcr.io/prefix-dev/pixi:0.72.2")
    client.images.pull(stand_in)
    source = client.containers.create(stand_in, ["none"])
    try:
        program = b"".join(source.get_archive("/usr/local/bin/pixi")[0])
    finally:
        source.remove()
    script = """
        set -e
        cd /opt/project
        pixi --version
        TOKEN=hidden pixi install --manifest-path /opt/project/pixi.toml --environment test --quiet
        pixi install --manifest-path /opt/project/pixi.toml --locked && exit 9
        .pixi/envs/test/bin/python -c 'import sys; print(sys.prefix)'
        cd /var/lib/pixi-stand-in/1
        grep -rl hidden . && exit 9
        cat arguments environments pixi.toml
        grep TOKEN variables
    """
    reference = mirrored(machine, "docker.io/library/python:3.11-slim-bookworm")
    client.images.pull(reference)
    container = client.containers.create(reference, ["sh", "-c", script])
    try:
        container.put_archive("/usr/local/bin", program)
        container.put_archive("/opt", archive("project/pixi.toml", b"[workspace]\n"))
        container.start()
        assert container.wait(timeout=60)["StatusCode"] == 0, container.logs().decode()
        said = container.logs(stderr=False).decode().splitlines()
        errors = container.logs(stdout=False).decode()
    finally:
        container.remove(force=True)
    assert said == [
        "pixi 0.72.2 (stand-in)",
        "/opt/project/.pixi/envs/test",
        *("install", "--manifest-path", "/opt/project/pixi.toml", "--environment", "test", "--quiet"),
        "test",
        "[workspace]",
        "TOKEN",
    ]
    assert "there is no `pixi.lock` beside `/opt/project/pixi.toml`" in errors


def archive(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        file.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
