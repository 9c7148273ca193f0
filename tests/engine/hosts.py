"""Hosts of their own for engines: network namespaces that a link joins to this machine, and whose power may fail."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from flytebuild.engine import EngineAddress
from scripts.machine import link
from scripts.machine.namespace import NetworkNamespace
from scripts.machine.processes import wait_until
from scripts.machine.state import Record, State
from tests.buildkit.doors import Engine, door, joined
from tests.conftest import Machine, bring_up, machine_state, take_down

_NETWORK = 0x40000000
"""`CLONE_NEWNET`: what setns(2) is told of the kind of a namespace."""


@dataclass(frozen=True)
class Host:
    """An engine on a host of its own, which has the registry of the tests' machine."""

    machine: Machine
    state: State

    @property
    def docker_host(self) -> str:
        return self.machine.docker_host

    def start(self) -> None:
        """Have the engine run, on the data that it has."""
        _bring_up(self.state)

    def kill(self) -> None:
        """End the engine as a power failure does."""
        kill_engine(self.state)

    @contextmanager
    def off_the_network(self) -> Iterator[None]:
        """Nothing gets there or comes from there any more, and nobody is told: as when a cable is pulled."""
        here, near = NetworkNamespace(self.state.root), link.near_end(self.state)
        here.demand("ip", "link", "set", near, "down")
        try:
            yield
        finally:
            here.demand("ip", "link", "set", near, "up")

    @contextmanager
    def buildkit(self) -> Iterator[str]:
        """The address at which the engine's BuildKit is reached over the link."""
        subnet = Record.load(self.state).subnet
        assert subnet
        engine = Engine(EngineAddress(self.docker_host, "the test"))
        with listening(self.state.namespace, link.addresses(subnet)[1]) as listener:
            address, port = listener.getsockname()
            with door(listener, joined(engine.buildkit)):
                yield f"tcp://{address}:{port}"


def kill_engine(state: State) -> None:
    """SIGKILL for dockerd, containerd, every step and container: the kernel kills all when their first process ends."""
    engine = Record.load(state).engine
    assert engine
    (first,) = Path(f"/proc/{engine.pid}/task/{engine.pid}/children").read_text().split()
    os.kill(int(first), signal.SIGKILL)
    # It is the last that the kernel lets go of.
    assert wait_until(lambda: not engine.is_running(), 60)


@contextmanager
def host_in(folder: Path, machine: Machine) -> Iterator[Host]:
    """A host whose state is in a folder; nothing is left of it at the end."""
    state = State(folder)
    try:
        yield Host(replace(_bring_up(state), mirrors=machine.mirrors), state)
    finally:
        take_down(state.folder)
        assert [path for path in Path("/sys/class/net").iterdir() if path.name.startswith(state.name)] == []


def _bring_up(state: State) -> Machine:
    return bring_up(state.folder, "--beside", str(machine_state()), "--apart")


@contextmanager
def listening(namespace: Path, address: str) -> Iterator[socket.socket]:
    """A listener at an address of another network namespace: a socket stays in the one that it was made in."""

    def listen() -> socket.socket:
        with namespace.open() as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _NETWORK):
                raise OSError(ctypes.get_errno(), f"no way into {namespace}")
        return socket.create_server((address, 0))

    # Only this thread goes there, and it ends with the pool.
    with ThreadPoolExecutor(1) as pool:
        listener = pool.submit(listen).result()
    with listener:
        yield listener
