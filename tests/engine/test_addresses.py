"""The real BuildKit through every kind of address: an image with a file, a secret and a step, pushed to a registry."""

from __future__ import annotations

import gc
import hashlib
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from flytebuild import engine
from flytebuild.buildkit._pb import control_pb2
from flytebuild.buildkit.address import Address, Certificates, parse
from flytebuild.buildkit.connection import Connection
from flytebuild.buildkit.export import Export
from flytebuild.buildkit.solve import image_config
from flytebuild.engine import EngineAddress, locate
from flytebuild.llb.run import SecretVariable
from tests.buildkit.daemon import daemon
from tests.buildkit.doors import Authority, Dial, Engine, direct_engine, put_program, tls_door, unix_door
from tests.conftest import Machine
from tests.engine.conftest import Workspace
from tests.engine.solving import CONTEXT, Solver, hashed

pytestmark = pytest.mark.engine


@dataclass(frozen=True)
class Site:
    """The real engine, and what a test puts before it for as long as it lasts."""

    engine: Engine
    folder: Path
    patch: pytest.MonkeyPatch
    stack: ExitStack

    def put_program(self, name: str, *expected: str, far: Dial) -> None:
        """A program, first on PATH, that joins its input and output with the engine."""
        tools = self.folder / "tools"
        tools.mkdir()
        put_program(tools, name, expected, self.stack.enter_context(unix_door(self.folder / "door.sock", far)))
        self.patch.setenv("PATH", str(tools), prepend=":")

    def set_engine(self, url: str) -> Address:
        """The address of an engine at `url`."""
        self.patch.setenv("DOCKER_HOST", url)
        return locate()

    def certified(self) -> tuple[Authority, Path, Path]:
        """An authority, and our own certificate and key by it."""
        authority = Authority.made(self.folder / "certificates")
        return authority, *authority.certify("me.example")


@pytest.fixture
def site(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(Engine(EngineAddress(machine.docker_host, "the machine")), tmp_path, monkeypatch, stack)


def engine_by_upgrade(site: Site) -> Address:
    return site.engine.address


def engine_directly(site: Site) -> Address:
    return site.set_engine(site.stack.enter_context(direct_engine(site.folder / "new.sock", site.engine.buildkit)))


def engine_by_tls(site: Site) -> Address:
    authority, certificate, key = site.certified()
    # The names that `docker` looks for.
    certificate.rename(authority.folder / "cert.pem")
    key.rename(authority.folder / "key.pem")
    site.patch.setenv("DOCKER_TLS_VERIFY", "1")
    site.patch.setenv("DOCKER_CERT_PATH", str(authority.folder))
    return site.set_engine(f"tcp://localhost:{site.stack.enter_context(tls_door(authority, site.engine.api))}")


def engine_by_ssh(site: Site) -> Address:
    expected = "-o BatchMode=yes -l me -p 2222 -- Far docker --host unix:///run/d.sock system dial-stdio"
    site.put_program("ssh", *expected.split(), far=site.engine.api)
    return site.set_engine("ssh://me@Far:2222/run/d.sock")


def unix(site: Site) -> Address:
    path = site.stack.enter_context(unix_door(site.folder / "buildkitd.sock", site.engine.buildkit))
    return parse(f"unix://{path}")


def tcp(site: Site) -> Address:
    authority, certificate, key = site.certified()
    port = site.stack.enter_context(tls_door(authority, site.engine.buildkit, name="buildkitd.example"))
    given = Certificates(authority.file, certificate, key, "buildkitd.example")
    return parse(f"tcp://127.0.0.1:{port}", certificates=given)


def docker_container(site: Site) -> Address:
    expected = "--context=remote exec -i Builder_0 buildctl dial-stdio"
    site.put_program("docker", *expected.split(), far=site.engine.buildkit)
    return parse("docker-container://Builder_0?context=remote")


def podman_container(site: Site) -> Address:
    site.put_program("podman", *["exec", "-i", "builder", "buildctl", "dial-stdio"], far=site.engine.buildkit)
    return parse("podman-container://builder")


def kube_pod(site: Site) -> Address:
    expected = "--context=c --namespace=ns exec --container=bk -i pod-0 -- buildctl dial-stdio"
    site.put_program("kubectl", *expected.split(), far=site.engine.buildkit)
    return parse("kube-pod://pod-0?container=bk&namespace=ns&context=c")


def ssh(site: Site) -> Address:
    expected = "-o BatchMode=yes -l me -- Far buildctl --addr unix:///run/bk.sock dial-stdio"
    site.put_program("ssh", *expected.split(), far=site.engine.buildkit)
    return parse("ssh://me@Far/run/bk.sock")


KINDS = [
    engine_by_upgrade,
    engine_directly,
    engine_by_tls,
    engine_by_ssh,
    unix,
    tcp,
    docker_container,
    podman_container,
    kube_pod,
    ssh,
]


@pytest.mark.parametrize("address", KINDS, ids=lambda kind: kind.__name__)
def test_an_image_is_built_through(
    address: Callable[[Site], Address], site: Site, machine: Machine, registry_prefix: str
) -> None:
    context = site.folder / "context"
    context.mkdir()
    content, secret = secrets.token_bytes(3_000_000), secrets.token_hex(16)
    (context / "data").write_bytes(content)
    tree = hashed(context)
    with Connection.open(address(site)) as connection:
        solver = Solver(connection, connection.worker().platform, machine.mirrors["ghcr.io"])
        state = tree.copied_onto(solver.base, solver.platform)
        step = solver.shell(
            'sha256sum </data; printf %s "$TOKEN" | sha256sum',
            state,
            variables=[SecretVariable("TOKEN", "token", True)],
        )
        name = f"{registry_prefix}/{address.__name__.replace('_', '-')}:1"
        config = image_config(CONTEXT, solver.platform, {})
        export = Export("image", {"name": name, "push": "true", "store": "false", "containerimage.config": config})
        solved = solver.solve(step, tree, given={"token": secret.encode()}, export=export)
    expected = [hashlib.sha256(item).hexdigest() for item in (content, secret.encode())]
    assert [line.split()[0] for line in solved.log.splitlines()] == expected
    assert len(solver.layers(name)) > 2
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("flytebuild-program")] == []


@pytest.mark.parametrize("address", [engine_by_tls, engine_by_ssh], ids=lambda kind: kind.__name__)
def test_docker_s_sdk_gets_through(address: Callable[[Site], Address], site: Site) -> None:
    address(site)
    # What Docker's SDK would take for the engine's authorities.
    site.patch.setenv("REQUESTS_CA_BUNDLE", str(site.folder / "nothing.pem"))
    client = engine.connect()
    assert client.version()["ApiVersion"]
    client.close()
    del client
    gc.collect()
    assert [thread.name for thread in threading.enumerate() if thread.name == "flytebuild-bridge"] == []


def test_a_plan_and_a_build_without_any_docker_engine(site: Site, workspace: Workspace) -> None:
    path = site.stack.enter_context(unix_door(site.folder / "buildkitd.sock", site.engine.buildkit))
    environ = {"BUILDKIT_HOST": f"unix://{path}", "DOCKER_HOST": "unix:///nothing.sock"}
    # One of a fleet that does not answer ends neither.
    fleet = environ | {"FLYTEBUILD_BUILDER": f"unix:///nothing.sock,unix://{path}"}
    built = workspace.flytebuild("build", "--for", "run_msa", **fleet)
    assert "No BuildKit answers at `unix:///nothing.sock`" in built.stderr
    assert "the other builders go on without it" in built.stderr
    (image,) = workspace.plan("--for", "run_msa", **environ)["images"]
    assert (image["status"], len(image["platforms"])) == ("present", 1)

    refused = workspace.flytebuild("build", "--for", "run_msa", code=64, FLYTEBUILD_REGISTRY="", **environ)
    assert "error: The images need a registry: the BuildKit that is to build them is no" in refused.stderr
    assert "hint: set `registry`" in refused.stderr

    # What is asked of it is the platform only.
    environ["BUILDKIT_HOST"] = "unix:///nothing.sock"
    failed = workspace.flytebuild("plan", "--for", "run_msa", code=69, **environ)
    assert "error: No BuildKit answers at `unix:///nothing.sock` (from `BUILDKIT_HOST`): No such file" in failed.stderr
    (image,) = workspace.plan("--for", "run_msa", "--platform", image["platforms"][0], **environ)["images"]
    assert image["status"] == "present"


def test_an_engine_without_containerd_s_store_is_refused_for_pushing(site: Site, workspace: Workspace) -> None:
    """An engine that is the real one but for what its worker says of the store."""
    with Connection.open(site.engine.address) as connection:
        answer = connection.ask("ListWorkers", control_pb2.ListWorkersRequest(), control_pb2.ListWorkersResponse)
    del answer.record[0].labels["org.mobyproject.buildkit.worker.snapshotter"]
    path = site.folder / "old.sock"

    def far() -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(str(path))
        return connection

    with (
        daemon(path, {"ListWorkers": lambda *_: answer.SerializeToString()}),
        direct_engine(site.folder / "new.sock", far) as url,
    ):
        refused = workspace.flytebuild("build", "--for", "run_msa", code=69, DOCKER_HOST=url)
    assert "error: This Docker Engine cannot push what its BuildKit builds" in refused.stderr
    assert 'hint: set `{"features": {"containerd-snapshotter": true}}` in its daemon.json' in refused.stderr
