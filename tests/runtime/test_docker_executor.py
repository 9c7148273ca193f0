"""Containers on a real engine, whose connection the tests break."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import docker
import flyte
import pytest

from flytebuild import engine
from flytebuild.authoring.images import define
from flytebuild.runtime.addresses import LABEL
from flytebuild.runtime.container import Limits, Order
from flytebuild.runtime.containers import host_settings
from flytebuild.runtime.docker_executor import DockerExecutor
from flytebuild.runtime.executor import Started, StartError
from flytebuild.runtime.secret_files import Feed
from flytebuild.runtime.verdict import Exit
from flytebuild.runtime.watcher import Patience, Watcher
from flytebuild.spec.model import ExternalImage
from tests.conftest import Machine
from tests.runtime.proxy import Proxy

pytestmark = [
    pytest.mark.engine,
    # Docker's SDK forgets to close a socket that it could not connect.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"),
]

BRIEF = Patience(question=2, lost=2, quiet=2, pause=0.1, pull=60)


@dataclass
class Bench:
    """An executor that reaches the engine through a proxy, and a straight line to the engine."""

    executor: DockerExecutor
    client: Any
    proxy: Proxy
    straight: Any
    home: str
    log_file: Path

    def order(self, script: str, image: str = "") -> Order:
        default = define(flyte.Image.from_debian_base(), "image")
        assert isinstance(default, ExternalImage)
        labels = {f"{LABEL}.home": self.home}
        return Order(image or default.reference, ("sh", "-c"), (script,), {}, labels, Limits())

    def containers(self) -> list[dict[str, Any]]:
        return list(self.straight.containers(all=True, filters={"label": f"{LABEL}.home={self.home}"}))

    def play(self, act: Callable[[], Awaitable[None]]) -> None:
        asyncio.run(asyncio.wait_for(act(), 120))

    async def run(self, script: str) -> Exit:
        started = await self.executor.start(self.order(script), self.log_file)
        exit_ = await self.executor.wait(started)
        await self.executor.remove(started)
        return exit_

    async def until_said(self, text: str) -> None:
        deadline = time.monotonic() + 60
        while not (self.log_file.exists() and text in self.log_file.read_text()):
            assert time.monotonic() < deadline, f"`{text}` never came"
            await asyncio.sleep(0.02)

    async def until_asked(self, request: bytes) -> None:
        """Wait until the engine is asked for something."""
        deadline = time.monotonic() + 60
        while request not in self.proxy.sent:
            assert time.monotonic() < deadline, f"`{request!r}` was never asked for"
            await asyncio.sleep(0)


@pytest.fixture
def bench(machine: Machine, tmp_path: Path) -> Iterator[Bench]:
    proxy = Proxy(tmp_path)
    client = docker.DockerClient(base_url=proxy.url, timeout=4, version="auto")
    straight = engine.connect()
    executor = DockerExecutor(client, machine.mirrors, None, BRIEF)
    made = Bench(executor, client, proxy, straight.api, str(tmp_path), tmp_path / "logs" / "r1" / "a0" / "1.log")
    # So that no test waits for a pull with its small patience.
    asyncio.run(_pulled(DockerExecutor(straight, machine.mirrors, None), made.order("true")))
    yield made
    proxy.end()
    executor.close()
    deadline = time.monotonic() + 60
    while left := made.containers():
        assert time.monotonic() < deadline, left
        for item in left:
            # A removal that the proxy held back may be under way.
            with suppress(docker.errors.APIError):
                made.straight.remove_container(item["Id"], force=True, v=True)
    straight.close()
    gc.collect()


async def _pulled(executor: DockerExecutor, order: Order) -> None:
    await executor.present(order.image)


def test_a_log_of_many_megabytes_is_whole(bench: Bench) -> None:
    """As fast as a shell can: more than ten megabytes a second where the machine has the time for it."""

    async def act() -> None:
        assert await bench.run("yes 'a line of an ordinary length, as programs print them' | head -n 600000") == Exit(0)

    bench.play(act)
    with bench.log_file.open("rb") as file:
        assert (
            sum(line.endswith(b"Z a line of an ordinary length, as programs print them\n") for line in file) == 600_000
        )


def test_a_log_that_is_too_large_says_so_at_its_end(bench: Bench) -> None:
    async def act() -> None:
        order = bench.order("yes 'a line' | head -n 100000; exit 3")
        started = await bench.executor.start(order, bench.log_file.with_name("whole.log"))
        watcher = Watcher(bench.straight, started.container, bench.log_file, BRIEF, largest=10_000)
        assert await asyncio.to_thread(watcher.watch) == Exit(3)
        assert await bench.executor.wait(started) == Exit(3)
        await bench.executor.remove(started)

    bench.play(act)
    *lines, last = bench.log_file.read_text().splitlines()
    assert last == "flytebuild: the rest is left out: no more than 10000 bytes of a log are kept"
    assert 8_000 < sum(len(line) + 1 for line in lines) <= 10_000


def test_a_log_and_an_exit_code(bench: Bench) -> None:
    async def act() -> None:
        exit_ = await bench.run("echo one; echo two >&2; sleep 0.3; echo three; exit 3")
        assert exit_ == Exit(3)

    bench.play(act)
    lines = [line.split(" ", 1)[1] for line in bench.log_file.read_text().splitlines()]
    assert sorted(lines) == ["one", "three", "two"]
    assert bench.containers() == []


def test_the_log_s_driver_does_not_depend_on_the_engine_s_default(bench: Bench) -> None:
    async def act() -> None:
        await bench.run("true")

    bench.play(act)
    (_, asked) = bytes(bench.proxy.sent).split(b"/containers/create", 1)
    body, _ = json.JSONDecoder().raw_decode(asked.partition(b"\r\n\r\n")[2].decode("utf-8", "replace"))
    assert body["HostConfig"]["LogConfig"]["Type"] == "json-file"


def test_a_log_that_cannot_be_written_changes_no_end(bench: Bench) -> None:
    bench.log_file.parent.parent.mkdir(parents=True)
    bench.log_file.parent.write_text("in the way")

    async def act() -> None:
        exit_ = await bench.run("echo text; exit 3")
        assert exit_.code == 3
        assert str(bench.log_file) in exit_.log_problem

    bench.play(act)


def test_a_full_disk_changes_no_end(bench: Bench) -> None:
    bench.log_file.parent.mkdir(parents=True)
    bench.log_file.symlink_to("/dev/full")

    async def act() -> None:
        exit_ = await bench.run("echo text; sleep 0.3; exit 3")
        assert exit_.code == 3
        assert "No space left on device" in exit_.log_problem

    bench.play(act)


def test_an_engine_that_comes_back_in_time(bench: Bench) -> None:
    async def act() -> None:
        started = await bench.executor.start(
            bench.order("echo before; while [ ! -e /tmp/go ]; do sleep 0.05; done; echo after; exit 3"), bench.log_file
        )
        await bench.until_said("before")
        bench.proxy.cut()
        command = bench.straight.exec_create(started.container, ["touch", "/tmp/go"])
        bench.straight.exec_start(command)
        bench.straight.wait(started.container, timeout=30)
        bench.proxy.come_back()
        assert await bench.executor.wait(started) == Exit(3)
        await bench.executor.remove(started)

    bench.play(act)
    assert [line.split(" ", 1)[1] for line in bench.log_file.read_text().splitlines()] == ["before", "after"]


@pytest.mark.parametrize("way", ["cut", "fall_silent"])
def test_an_engine_that_goes_away_ends_the_wait(bench: Bench, way: str) -> None:
    async def act() -> None:
        started = await bench.executor.start(bench.order("echo before; sleep 600"), bench.log_file)
        await bench.until_said("before")
        getattr(bench.proxy, way)()
        exit_ = await bench.executor.wait(started)
        assert exit_.code is None
        assert exit_.problem == "The engine did not answer for 2 s while the container ran"

    bench.play(act)
    assert "before" in bench.log_file.read_text(), "what was read before stays"


def test_what_could_not_be_removed_is_removed_at_the_end(bench: Bench) -> None:
    async def act() -> None:
        started = await bench.executor.start(bench.order("sleep 600"), bench.log_file)
        bench.proxy.cut()
        await bench.executor.remove(started)
        assert len(bench.containers()) == 1
        bench.proxy.come_back()

    bench.play(act)
    bench.executor.close()
    assert bench.containers() == []


def test_without_an_engine_nothing_starts(bench: Bench) -> None:
    async def act() -> None:
        bench.proxy.cut()
        with pytest.raises(StartError, match="does not answer"):
            await bench.executor.start(bench.order("true"), bench.log_file)

    bench.play(act)


@pytest.mark.parametrize("moment", [b"/images/", b"/containers/create", b"/start "])
def test_a_start_that_is_cancelled_leaves_nothing(bench: Bench, moment: bytes) -> None:
    async def act() -> None:
        starting = asyncio.ensure_future(bench.executor.start(bench.order("sleep 600"), bench.log_file))
        await bench.until_asked(moment)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert bench.containers() == []

    bench.play(act)


@pytest.fixture
def silent_image() -> Iterator[str]:
    """An image in a registry that accepts connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}/silent:1"


def test_a_pull_that_makes_no_progress_ends(bench: Bench, silent_image: str) -> None:
    async def act() -> None:
        with pytest.raises(StartError, match="no progress for 1 s") as error:
            await bench.executor.start(bench.order("true", silent_image), bench.log_file)
        assert error.value.code == "ImagePullBackOff"

    bench.executor = DockerExecutor(bench.client, {}, None, replace(BRIEF, pull=1))
    bench.play(act)


def test_a_pull_that_nobody_wants_any_more_holds_up_nothing(bench: Bench, silent_image: str) -> None:
    async def act() -> None:
        starting = asyncio.ensure_future(bench.executor.start(bench.order("true", silent_image), bench.log_file))
        await bench.until_asked(b"/images/create")
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(starting, 20)

    bench.play(act)


def test_a_container_without_an_answer_is_removed(bench: Bench) -> None:
    """The engine makes it, and the answer does not come in time."""

    async def act() -> None:
        bench.proxy.swallow_answer(b"/containers/create")
        with pytest.raises(StartError, match="does not answer"):
            await bench.executor.start(bench.order("sleep 600"), bench.log_file)
        assert bench.containers() == []

    bench.play(act)


def test_a_container_that_somebody_removes(bench: Bench) -> None:
    async def act() -> None:
        started: Started = await bench.executor.start(bench.order("sleep 600"), bench.log_file)
        bench.straight.remove_container(started.container, force=True)
        exit_ = await bench.executor.wait(started)
        assert (exit_.code, exit_.problem) in ((None, "The container was removed by somebody else"), (137, ""))

    bench.play(act)


def test_secrets_that_do_not_come_end_the_container(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the control plane is killed in that moment."""
    monkeypatch.setattr(Feed, "write", lambda self, files: self._raw.sendall(b"key c2Vj"))

    async def act() -> None:
        order = replace(bench.order("echo started"), secret_files={"key": "secret"})
        started = await bench.executor.start(order, bench.log_file)
        assert await bench.executor.wait(started) == Exit(1)
        await bench.executor.remove(started)

    bench.play(act)
    assert "the control plane went away before the secrets were here" in bench.log_file.read_text()


def test_a_container_with_secrets_is_what_it_would_be_without(bench: Bench) -> None:
    script = 'cat /etc/flyte/secrets/a/b; echo " $$ $(cat) $(umask) $(pwd)"; exit 3'

    async def act() -> None:
        order = replace(bench.order(script), secret_files={"a/b": "x" * 300_000 + "%s\\n$'", "c": ""})
        started = await bench.executor.start(order, bench.log_file)
        assert "x" * 9 not in str(bench.straight.inspect_container(started.container))
        assert await bench.executor.wait(started) == Exit(3)
        await bench.executor.remove(started)

    bench.play(act)
    said = bench.log_file.read_text()
    assert said.count("x") == 300_000
    assert "%s\\n$' 1  0022 /" in said


def test_limits_reach_the_container(bench: Bench) -> None:
    async def act() -> None:
        limits = Limits(nano_cpus=500_000_000, memory=128 << 20, shared_memory=32 << 20)
        order = replace(bench.order("df -k /dev/shm | tail -1; sleep 60"), limits=limits)
        started = await bench.executor.start(order, bench.log_file)
        await bench.until_said("32768")
        settings = bench.straight.inspect_container(started.container)["HostConfig"]
        assert (settings["NanoCpus"], settings["Memory"], settings["MemorySwap"]) == (5 * 10**8, 128 << 20, 128 << 20)
        await bench.executor.remove(started)

    bench.play(act)


def test_gpus_are_asked_for_by_number() -> None:
    (request,) = host_settings(Limits(gpus=2))["device_requests"]
    assert (request["Count"], request["Capabilities"]) == (2, [["gpu"]])
    assert host_settings(Limits()) == {}
