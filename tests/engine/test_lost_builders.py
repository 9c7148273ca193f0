"""Builders that go away while they build, and clients that do: what is left, and how it goes on."""

import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.conftest import TOP, Machine, take_down
from tests.engine.conftest import BIN, Workspace, in_image, processes_with, repository_tags
from tests.engine.hosts import Host, host_in
from tests.registry_proxy import proxied
from tests.runtime.proxy import Proxy

pytestmark = pytest.mark.engine

STEPS = """
import flyte

base = flyte.Image.from_debian_base(python_version=(3, 11))
for number in range({images}):
    image = base.clone(name="lost").with_commands(["sleep {seconds} || true # {token} %d" % number])
    globals()["env%d" % number] = flyte.TaskEnvironment(name="env%d" % number, image=image)
"""
"""Their steps end well when what they wait for is ended."""

GATED = """
import flyte

base = flyte.Image.from_debian_base(python_version=(3, 11), name="lost")
image = base.with_commands(["echo {token} >/tmp/first"]).with_commands(
    ["test $GATE = open || sleep 600; cat /tmp/first >/tmp/second"], secret_mounts=["GATE"]
)
env = flyte.TaskEnvironment(name="env", image=image)
"""
"""Its second step ends when it is told to, by what is no part of the image."""

MOVING = """
import flyte

base = flyte.Image.from_debian_base(python_version=(3, 11), name="lost")
image = base.with_source_file(__file__.replace("lost.py", "data"), "/data/data").with_commands(["sleep 1 # {token}"])
env = flyte.TaskEnvironment(name="env", image=image)
"""
"""It sends a file, runs a step, and pushes as much as the file has."""


FLYTEBUILD = (str(BIN / "flytebuild"),)
IMPATIENT = (
    sys.executable,
    "-c",
    "from flytebuild.buildkit import transport; from flytebuild.cli.main import main; "
    "transport.SIGN_OF_LIFE = 4; main()",
)
"""The same, which asks daemons for a sign of life after four seconds: they are heard of every five."""


class Build:
    """A `flytebuild build` whose events are read while it runs."""

    def __init__(self, workspace: Workspace, program: Sequence[str] = FLYTEBUILD, **environ: str) -> None:
        self.process = subprocess.Popen(
            [*program, "build", "--progress", "json", "lost.py"],
            cwd=workspace.folder,
            env={**workspace.environ, **environ},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._ended = False
        self._grew = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def wait_for(self, words: str, times: int = 1) -> None:
        """Wait until so many lines have these words."""

        def came() -> bool:
            return sum(words in line for line in self.lines) >= times

        with self._grew:
            self._grew.wait_for(lambda: came() or self._ended, timeout=120)
        assert came(), "".join(self.lines)

    def end(self) -> tuple[int, str]:
        """Its exit code, and all that it said."""
        code = self.process.wait(180)
        self._reader.join()
        return code, "".join(self.lines)

    def _read(self) -> None:
        assert self.process.stderr
        with self.process.stderr as stream:
            for line in stream:
                with self._grew:
                    self.lines.append(line)
                    self._grew.notify_all()
        with self._grew:
            self._ended = True
            self._grew.notify_all()


@pytest.fixture
def token(registry_prefix: str) -> str:
    return registry_prefix.rpartition("/")[2]


@pytest.fixture
def front(machine: Machine, tmp_path: Path) -> Iterator[Proxy]:
    """A socket before the engine, which can be cut."""
    proxy = Proxy(tmp_path)
    try:
        yield proxy
    finally:
        proxy.end()


@pytest.fixture(scope="module")
def hosts(machine: Machine) -> Iterator[tuple[Host, Host]]:
    """Two engines on hosts of their own; the second is on a disk that a test may fill: in memory, of 2 GB."""
    with (
        host_in(TOP / "build/steady-machine", machine) as steady,
        _disk(TOP / "build/mortal-disk") as disk,
        host_in(disk / "machine", machine) as mortal,
    ):
        yield steady, mortal


@pytest.fixture
def steady(hosts: tuple[Host, Host]) -> Host:
    """A host that nobody kills."""
    return hosts[0]


@pytest.fixture
def mortal(hosts: tuple[Host, Host]) -> Host:
    """A host that a test may kill; its engine runs."""
    hosts[1].start()
    return hosts[1]


@contextmanager
def _disk(folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    if folder.is_mount():
        # A run that was killed has left it, with an engine perhaps.
        take_down(folder / "machine")
        subprocess.run(["umount", folder], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2g", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def tags(workspace: Workspace) -> set[str]:
    return repository_tags(workspace.registry, "lost")


def sleeping(workspace: Workspace, token: str, images: int, seconds: str) -> None:
    workspace.write({"lost.py": STEPS.format(token=token, images=images, seconds=seconds)})


@contextmanager
def woken(seconds: str) -> Iterator[None]:
    """Meanwhile every step that sleeps for so long goes on, those that begin later as well."""
    stop = threading.Event()

    def wake() -> None:
        while not stop.wait(0.1):
            for process in processes_with(f"sleep\0{seconds}\0"):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGTERM)

    thread = threading.Thread(target=wake)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def long() -> str:
    """Seconds that are never over, and which nobody else sleeps."""
    return f"600.{secrets.randbits(32)}"


def test_an_engine_that_comes_back_is_gone_on_with(workspace: Workspace, front: Proxy, token: str, long: str) -> None:
    sleeping(workspace, token, 1, long)
    build = Build(workspace, DOCKER_HOST=front.url)
    build.wait_for('"name": "run: sleep ')
    front.cut()
    front.come_back()
    with woken(long):
        code, said = build.end()
    assert code == 0, said
    assert "was lost and is back; the image of env0 goes on" in said
    assert len(tags(workspace)) == 1


def test_an_engine_that_does_not_is_told(workspace: Workspace, front: Proxy, token: str, long: str) -> None:
    sleeping(workspace, token, 1, long)
    build = Build(workspace, DOCKER_HOST=front.url)
    build.wait_for('"name": "run: sleep ')
    front.cut()
    code, said = build.end()
    assert code == 69, said
    assert f"The connection to the BuildKit at `{front.url}` was lost while it was building" in said
    assert "the same command goes on from what was built" in said
    assert tags(workspace) == set()


def test_an_engine_with_a_full_disk_is_told_and_goes_on_when_there_is_room(
    workspace: Workspace, mortal: Host, token: str
) -> None:
    sleeping(workspace, token, 2, "0")
    engine = {"DOCKER_HOST": mortal.docker_host}
    filler = mortal.state.folder / "filler"
    with filler.open("wb") as file:
        room = os.statvfs(filler)
        # The base does not fit any more.
        os.posix_fallocate(file.fileno(), 0, (room.f_bavail * room.f_frsize) - (100 << 20))
    code, said = Build(workspace, **engine).end()
    assert code == 1, said
    assert "no space left on device" in said
    assert "docker builder prune" in said
    assert tags(workspace) == set()
    filler.unlink()
    code, said = Build(workspace, **engine).end()
    assert code == 0, said
    assert len(tags(workspace)) == 2


def test_an_engine_that_is_killed_is_told_and_the_next_build_goes_on_from_its_cache(
    workspace: Workspace, mortal: Host, token: str
) -> None:
    workspace.write({"lost.py": GATED.format(token=token)})
    # Only what the engine itself keeps is to count.
    environ = {"DOCKER_HOST": mortal.docker_host, "FLYTEBUILD_CACHE": "off"}
    build = Build(workspace, GATE="shut", **environ)
    build.wait_for('"name": "run: test $GATE')
    mortal.kill()
    code, said = build.end()
    assert code == 69, said
    assert f"The connection to the BuildKit at `{mortal.docker_host}` was lost while it was building" in said
    assert "the same command goes on from what was built" in said
    assert tags(workspace) == set()

    mortal.start()
    code, said = Build(workspace, GATE="open", **environ).end()
    assert code == 0, said
    events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    ended = {event["name"]: event["cached"] for event in events if event["event"] == "step_finished"}
    assert [cached for name, cached in ended.items() if name.startswith("run: ")] == [True, False], said
    (image,) = (event["reference"] for event in events if event["event"] == "image_finished")
    assert in_image(image, "cat", "/tmp/second").splitlines()[-1] == token


def test_images_of_a_host_that_is_killed_are_built_by_the_other(
    workspace: Workspace, steady: Host, mortal: Host, token: str, long: str
) -> None:
    sleeping(workspace, token, 4, long)
    with steady.buildkit() as stays, mortal.buildkit() as goes:
        build = Build(workspace, FLYTEBUILD_BUILDER=f"{stays},{goes}")
        build.wait_for('"name": "run: sleep ', times=4)
        mortal.kill()
        with woken(long):
            code, said = build.end()
    assert code == 0, said
    assert f"The builder `{goes}` has gone; its images are built elsewhere" in said
    assert len(tags(workspace)) == 4
    ended = [json.loads(line) for line in said.splitlines() if '"event": "image_finished"' in line]
    assert [event["error"] for event in ended] == [None] * 4


def test_images_of_a_host_that_vanishes_are_built_by_the_other(
    workspace: Workspace, steady: Host, mortal: Host, token: str, long: str
) -> None:
    sleeping(workspace, token, 4, long)
    with steady.buildkit() as stays, mortal.buildkit() as goes:
        build = Build(workspace, IMPATIENT, FLYTEBUILD_BUILDER=f"{stays},{goes}")
        build.wait_for('"name": "run: sleep ', times=4)
        with mortal.off_the_network(), woken(long):
            code, said = build.end()
    assert code == 0, said
    assert f"The builder `{goes}` has gone; its images are built elsewhere" in said
    assert len(tags(workspace)) == 4


@pytest.mark.parametrize(
    "moment", ["transferring files", "run: sleep", "exporting layers", "pushing layers", "exporting cache"]
)
def test_a_client_that_is_killed_leaves_nothing_half_done(workspace: Workspace, token: str, moment: str) -> None:
    content = secrets.token_bytes(2_000_000)
    workspace.write({"lost.py": MOVING.format(token=token)})
    (workspace.folder / "data").write_bytes(content)
    host, _, path = workspace.registry.partition("/")
    with proxied(host) as proxy:
        # Slow enough to be in the middle of it.
        proxy.pace = 1_000_000
        environ = {"FLYTEBUILD_REGISTRY": f"{proxy.host}/{path}"}
        build = Build(workspace, **environ)
        build.wait_for(f'"name": "{moment}')
        build.process.kill()
        assert build.end()[0] == -signal.SIGKILL
        proxy.pace = None
        (image,) = workspace.plan("lost.py", **environ)["images"]
        # What the client could still do in its last moment is whole, or is not there.
        assert image["status"] == ("present" if tags(workspace) else "missing")
        workspace.flytebuild("build", "lost.py", **environ)
        assert len(tags(workspace)) == 1
        found = in_image(image["reference"], "sha256sum", "/data/data").split()[0]
        assert found == hashlib.sha256(content).hexdigest()


def test_a_full_disk_is_told_as_such(workspace: Workspace) -> None:
    source = STEPS.format(images=1, seconds=0, token="x").replace(
        "sleep 0 || true # x %d", "cat /etc/passwd >/dev/full #%d"
    )
    workspace.write({"lost.py": source})
    failed = workspace.flytebuild("build", "lost.py", code=1)
    assert "No space left on device" in failed.stderr
    assert "hint: the builder's disk is full" in failed.stderr
    assert "written at lost.py:6" in failed.stderr
