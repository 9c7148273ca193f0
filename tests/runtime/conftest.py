"""A control plane with a stand-in for the engine, in memory or behind a real port."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from flytebuild.runtime import client
from flytebuild.runtime.app import ControlPlane, assemble
from flytebuild.runtime.container import Order, Site
from flytebuild.runtime.credentials import Credentials
from flytebuild.runtime.executor import Started, StartError, Tell
from flytebuild.runtime.home import make
from flytebuild.runtime.listening import listen
from flytebuild.runtime.passes import Passes
from flytebuild.runtime.process import End
from flytebuild.runtime.server import serving
from flytebuild.runtime.verdict import Exit
from tests.conftest import TOP, Machine
from tests.runtime.driver import Driver, configured, containers

CREDENTIALS = Credentials("FBtest", "secret", "link-secret")
PICTURES = TOP / "build/pages"
"""Where pictures of pages are left."""

SITE = Site(home="/data", port=8199, passes=Passes(CREDENTIALS.pass_secret), cpus=4)


@dataclass
class ScriptedExecutor:
    """Ends each container as `script` says: it gets the order and the number of the start, counted from 1.

    Without a script, and where it says None, containers run until they are removed. `left` are archives of what each
    of them leaves, by their folders.
    """

    script: Callable[[Order, int], Exit | StartError | None] | None = None
    orders: list[Order] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    running: dict[str, asyncio.Future[Exit]] = field(default_factory=dict)
    left: dict[str, bytes] = field(default_factory=dict)

    async def start(
        self, order: Order, log_file: Path, turn: AbstractAsyncContextManager[object], tell: Tell
    ) -> Started:
        async with turn:
            return await self._start(order)

    async def _start(self, order: Order) -> Started:
        self.orders.append(order)
        started = Started(f"container-{len(self.orders)}", "sha256:abc")
        self.running[started.container] = asyncio.get_running_loop().create_future()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            await self.remove(started)
            raise
        if self.script:
            end = self.script(order, len(self.orders))
            if isinstance(end, StartError):
                raise end
            if end is not None:
                self.running[started.container].set_result(end)
        return started

    async def wait(self, started: Started) -> Exit:
        return await asyncio.shield(self.running[started.container])

    async def fetch(self, started: Started, path: str) -> Iterator[bytes]:
        assert started.container not in self.removed
        if path not in self.left:
            raise FileNotFoundError(path)
        return iter([self.left[path]])

    async def remove(self, started: Started) -> None:
        await asyncio.sleep(0)
        self.removed.append(started.container)


@pytest.fixture
def executor() -> ScriptedExecutor:
    return ScriptedExecutor()


@pytest.fixture
def plane(tmp_path: Path, executor: ScriptedExecutor) -> ControlPlane:
    """The application in memory; whoever submits actions to it does so inside one event loop."""
    return assemble(tmp_path, SITE, CREDENTIALS, executor)


@contextlib.contextmanager
def served(folder: Path, executor: ScriptedExecutor, *others: socket.socket) -> Iterator[str]:
    """The address of a control plane of a data folder that serves on a port of its own, from a thread.

    It answers at `others` as well.
    """
    ready, stop = threading.Event(), threading.Event()
    address = []

    async def main() -> None:
        with listen(0, None) as sockets:
            address.append(f"http://127.0.0.1:{sockets[0].getsockname()[1]}")
            async with serving(assemble(folder, SITE, CREDENTIALS, executor), [*sockets, *others]):
                ready.set()
                await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert ready.wait(20)
    try:
        yield address[0]
    finally:
        stop.set()
        thread.join(20)


@pytest.fixture
def server(tmp_path: Path, executor: ScriptedExecutor) -> Iterator[str]:
    """A control plane behind a real port."""
    with served(tmp_path, executor) as address:
        yield address


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A data folder whose objects are on a disk of 4 MiB."""
    make(tmp_path)
    place = tmp_path / "objects"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], check=True)
    yield tmp_path
    subprocess.run(["umount", str(place)], check=True)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Debian's Chromium, without a window; a thousand pixels wide."""
    if subprocess.run([TOP / "scripts/browser.sh"], check=False).returncode:
        pytest.fail("there is no Chromium: as root, `scripts/browser.sh` installs Debian's", pytrace=False)
    options = ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--window-size=1100,1300", "--no-proxy-server"):
        options.add_argument(argument)
    PICTURES.mkdir(parents=True, exist_ok=True)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.binary_location = "/usr/bin/chromium"
    # It leaves its profile behind.
    environ = {**os.environ, "TMPDIR": str(tmp_path_factory.mktemp("chromium"))}
    driver = Chrome(options, ChromeService("/usr/bin/chromedriver", env=environ))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def browser(chromium: Chrome) -> Iterator[Chrome]:
    """The same, for one test: no page looks for a site that has ended, nor is what it said of that another test's."""
    yield chromium
    chromium.get("about:blank")
    chromium.get_log("browser")


@pytest.fixture(scope="session")
def table_run(driver: Driver) -> tuple[dict[str, Any], dict[str, Any]]:
    """A run in which a table passes from one container to another: what the SDK says, and the control plane."""
    return driver.run("frames.pass_frame", {"count": 1000})


@pytest.fixture(scope="session")
def driver(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """A control plane on the real engine that all tests of a session share."""
    home = tmp_path_factory.mktemp("home")
    config = configured(machine, home)
    yield Driver(config, client.ensure(config))
    assert client.stop(config) is End.STOPPED
    assert containers(home) == []
