"""The state folder: names, sockets, the lock, and what is never removed."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from scripts.machine.processes import Process
from scripts.machine.report import MachineError
from scripts.machine.state import LONGEST_SOCKET_PATH, Record, State, locked, refuse_mounts_in, remove_tree


def test_every_folder_has_names_of_its_own() -> None:
    one, other = State(Path("/srv/one")), State(Path("/srv/other"))
    assert one.name == State(Path("/srv/one")).name
    assert one.name != other.name
    assert len(one.name) < 16, "the kernel's limit for the name of a network interface"


@pytest.mark.parametrize("length", [10, 80, 90, 100, 200])
def test_the_socket_has_an_address_whatever_the_folder(length: int) -> None:
    state = State(Path("/" + "x" * (length - 1)))
    assert len(state.engine_host.removeprefix("unix://")) <= LONGEST_SOCKET_PATH
    assert state.needs_short_link == (length > LONGEST_SOCKET_PATH - len("/root/run/docker.sock"))


def test_a_record_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    state = State(tmp_path)
    record = Record(engine=Process(1, 2, "boot"), subnet="172.16.0.0/16", registry=None, registry_port=5100)
    record.save(state)
    assert Record.load(state) == record


def test_a_folder_of_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(MachineError, match="holds other things") as caught, locked(State(tmp_path)):
        pass
    assert caught.value.exit_code == 64
    assert (tmp_path / "thesis.tex").exists()


def test_a_command_that_waited_for_down_starts_anew(tmp_path: Path) -> None:
    state = State(tmp_path / "state")
    entered = threading.Event()

    def wait_and_enter() -> None:
        with locked(state):
            assert (state.folder / "lock").exists()
            entered.set()

    with locked(state):
        second = threading.Thread(target=wait_and_enter)
        second.start()
        assert not entered.wait(0.1)
        remove_tree(state.folder)
    second.join(10)
    assert entered.is_set()


def test_mounts_are_never_removed() -> None:
    with pytest.raises(MachineError, match="still mounted"):
        refuse_mounts_in(Path("/proc"))
