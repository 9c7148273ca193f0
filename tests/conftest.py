"""What tests share: a machine with a real engine, brought up once per run where none is, for all of its workers."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpcore  # noqa: F401 - below
import pytest
from hypothesis import HealthCheck, settings

from tests.snapshot import Snapshots

TOP = Path(__file__).parent.parent

BASES = ("--bases", "all")
"""What the machine has."""

HEAD_START = pytest.StashKey[subprocess.Popen[bytes]]()
"""The command that brings the machine up while tests run that need none."""

LONGEST = {
    f"test_{name}.py" for name in ("wheel_recipes", "run", "lost_builders", "cache", "network", "values", "semantics")
}
"""Files that take a minute or more, whatever the number of their tests says; one begun last would be waited for."""

# Programs that tests start keep their bytecode, whatever the machine says: else each of them compiles all its modules.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# httpx imports httpcore when it is used, and knows errors by their classes: imported by a test that puts `sys.modules`
# back, these would be others for all tests after it.

# By default an example that takes 200 ms fails its test: on a busy machine any does.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@dataclass(frozen=True)
class Machine:
    """Where the engine is, where images are pushed to, what stands in for public registries, what the engine runs."""

    docker_host: str
    registry: str | None
    mirrors: dict[str, str]
    platforms: tuple[str, ...]


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The engine, the registry and the bases that tests marked `engine` use; the environment leads to them.

    Workers share it: the first one that needs it brings it up, and it goes when the run has ended.
    `TEST_MACHINE=<state folder>` keeps one between runs. A machine that cannot come up fails the test.
    """
    with _in_use(), pytest.MonkeyPatch.context() as patch:
        found = bring_up(machine_state())
        patch.setenv("DOCKER_HOST", found.docker_host)
        patch.delenv("BUILDKIT_HOST", raising=False)
        # What the user's own builds have seen would be re-tagged here, and not built.
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        if found.registry:
            patch.setenv("FLYTEBUILD_REGISTRY", found.registry)
        patch.setenv("FLYTEBUILD_MIRRORS", ",".join(f"{name}={to}" for name, to in found.mirrors.items()))
        yield found


USED = TOP / "build/test-machine.used"
"""Is locked by whoever uses the machine."""


@contextmanager
def _in_use() -> Iterator[None]:
    """Nobody takes the machine down meanwhile; the lock goes with the process, however that ends."""
    USED.parent.mkdir(exist_ok=True)
    with USED.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Take the machine down, one that an interrupted run left as well, unless it is kept or another run uses it.

    Workers leave that to the process that started them, which comes here when they have ended.
    """
    if command := session.config.stash.get(HEAD_START, None):
        command.terminate()
        command.wait()
    if hasattr(session.config, "workerinput") or os.environ.get("TEST_MACHINE") or not machine_state().exists():
        return
    with USED.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        take_down(machine_state())


SECOND = TOP / "build" / f"second-machine-{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"
"""Each worker has one of its own: tests make it forget what it has, or kill it."""


def bring_up_second() -> Machine:
    """Have the second machine's engine run, on the data that it has."""
    return bring_up(SECOND, "--beside", str(machine_state()))


@pytest.fixture(scope="session")
def second_machine(machine: Machine) -> Iterator[Machine]:
    """Another engine, which has nothing, for the same registry; it comes up in seconds and goes with the run."""
    try:
        yield replace(bring_up_second(), mirrors=machine.mirrors)
    finally:
        take_down(SECOND)


@pytest.fixture
def registry_prefix(machine: Machine) -> str:
    """A place in the registry that no other test and no other run looks at."""
    if machine.registry is None:
        pytest.fail("there is no registry beside this engine: that takes Debian's `docker-registry`", pytrace=False)
    return f"{machine.registry}/t{secrets.token_hex(6)}"


@pytest.fixture
def other_platform(machine: Machine) -> str:
    """A platform that is not this machine's and that the engine runs all the same, by emulation."""
    if len(machine.platforms) < 2:
        hint = "`docker run --privileged --rm tonistiigi/binfmt --install all` lets an engine of yours run them"
        pytest.fail(f"the engine runs no programs of another architecture: {hint}", pytrace=False)
    return machine.platforms[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-snapshots", action="store_true", help="keep what users see now in tests/snapshots")


@pytest.fixture(scope="session")
def snapshots(pytestconfig: pytest.Config) -> Snapshots:
    """The texts that are kept in tests/snapshots."""
    return Snapshots(is_written=bool(pytestconfig.getoption("--write-snapshots")))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Prepare tests on a real engine, and have workers do their files last, while those with most tests come first.

    Until then the machine has come up, and short files fill what is left at the end.

    A test marked `engine` gets the machine, whether or not it asks for it by name.

    It also gets a second try: engine, registry and network are real, and fail in ways that are no defect of ours. The
    closing line counts those that needed it, and the summary names them.
    """
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("engine"):
            item.add_marker(pytest.mark.flaky(reruns=1))
            if "machine" not in item.fixturenames:
                item.fixturenames.insert(0, "machine")
    if hasattr(config, "workerinput"):
        sizes = Counter(item.path for item in items if item.get_closest_marker("engine"))
        items.sort(key=lambda item: (item.path in sizes, item.path.name not in LONGEST, -sizes[item.path]))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Have the first worker bring the machine up, if it will be needed, while all of them do what needs none."""
    worker = getattr(session.config, "workerinput", {}).get("workerid")
    if worker == "gw0" and any(item.get_closest_marker("engine") for item in session.items):
        # Whoever needs the machine calls `up` as well: that waits for this one, and says what is wrong.
        session.config.stash[HEAD_START] = subprocess.Popen(
            _command("up", machine_state(), BASES),
            cwd=TOP,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def pytest_report_collectionfinish(items: list[pytest.Item]) -> list[str]:
    """Say what is not run here, and what runs it."""
    is_left = any(item.path.name == "test_wheel_recipes.py" for item in items) and not os.environ.get("TEST_WHEELS")
    return ["wheel layers of heavy packages are compared with steps by `make test-wheels`"] if is_left else []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what a test's first try said that needed a second one."""
    for report in terminalreporter.stats.get("rerun", ()):
        terminalreporter.section(f"first try of {report.nodeid}", sep="_")
        report.toterminal(terminalreporter._tw)


def machine_state() -> Path:
    """The folder in which the machine is, whether it is kept or not."""
    return Path(os.environ.get("TEST_MACHINE") or TOP / "build/test-machine").resolve()


def bring_up(state: Path, *options: str) -> Machine:
    """A machine in a state folder; fails the test where it does not come up."""
    options = options or BASES
    result = _call("up", state, *options, "--json")
    if result.returncode:
        command = f"{Path(sys.executable).name} -m scripts.machine up --state {state} {' '.join(options)}"
        pytest.fail(f"no machine for tests on a real engine; `{command}` says:\n{result.stderr}", pytrace=False)
    document = json.loads(result.stdout)
    return Machine(document["docker_host"], document["registry"], document["mirrors"], tuple(document["platforms"]))


def take_down(state: Path) -> None:
    """Stop it, and remove all that it had."""
    _call("down", state)


def _call(verb: str, state: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = _command(verb, state, options)
    return subprocess.run(command, cwd=TOP, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def _command(verb: str, state: Path, options: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "scripts.machine", verb, "--state", str(state), *options]
