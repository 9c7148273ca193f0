"""Programs that carry a connection."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from flytebuild.streams.program import Program

ECHO = "import os\nwhile data := os.read(0, 1000):\n    os.write(1, data)"


def python(script: str) -> Program:
    return Program([sys.executable, "-IS", "-c", script])


def pid_of(program: Program) -> int:
    """The process's number, which it tells itself."""
    program.socket.settimeout(20)
    return int(program.socket.recv(100))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_bytes_go_through_it_both_ways_and_it_ends_with_the_connection() -> None:
    program = python(f"import os\nos.write(1, str(os.getpid()).encode())\n{ECHO}")
    pid = pid_of(program)
    program.socket.sendall(b"there and back")
    assert program.socket.recv(100) == b"there and back"
    program.socket.close()
    program.join()
    assert not is_alive(pid)


def test_one_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flytebuild.streams.program._GRACE", 0.1)
    stubborn = (
        "import os, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nos.write(1, str(os.getpid()).encode())"
    )
    program = python(f"{stubborn}\nwhile True:\n    signal.pause()")
    pid = pid_of(program)
    program.socket.close()
    program.join()
    assert not is_alive(pid)


def test_the_connection_ends_with_it_and_what_it_said_is_told() -> None:
    program = python("import sys\nprint('a warning', file=sys.stderr)\nsys.exit('no such container')")
    program.socket.settimeout(20)
    assert program.socket.recv(1) == b""
    assert program.complaint().endswith("ended with 1: no such container")
    program.socket.close()
    program.join()


def test_one_that_is_not_there(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        Program([str(tmp_path / "nothing")])
    assert len(os.listdir("/proc/self/fd")) == before


def test_its_output_may_be_large() -> None:
    program = python("import os\nfor _ in range(100):\n    os.write(1, b'x' * 65536)")
    with socket.socket(fileno=program.socket.detach()) as stream:
        stream.settimeout(20)
        assert sum(iter(lambda: len(stream.recv(1 << 20)), 0)) == 100 * 65536
    program.join()
