"""Whose transfers have a base in common."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flytebuild.buildkit.session.shared_key import SharedKey

HOLD = """
import sys, time
from pathlib import Path
from flytebuild.buildkit.session.shared_key import SharedKey
print(SharedKey(Path(sys.argv[1])).take(), flush=True)
time.sleep(600)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys/engine"


def once(path: Path) -> str:
    """The key of a session that ends as it should."""
    key = SharedKey(path)
    taken = key.take()
    key.give_back()
    return taken


def test_sessions_one_after_the_other(path: Path) -> None:
    assert once(path) == once(path) == once(path)
    assert len(once(path)) == 32
    assert once(path) != once(path.with_name("another engine"))


def test_sessions_at_the_same_time(path: Path) -> None:
    first, second = SharedKey(path), SharedKey(path)
    taken = first.take()
    assert second.take() == taken
    first.give_back()
    assert once(path) == taken
    second.give_back()
    assert once(path) == taken


def test_nobody_uses_the_key_again_after_the_daemon_has_gone_away(path: Path) -> None:
    first, second = SharedKey(path), SharedKey(path)
    taken = first.take()
    assert second.take() == taken
    first.spoil()
    # At once: the daemon may be up again before whoever noticed has ended.
    other = SharedKey(path)
    assert (new := other.take()) != taken
    for key in (first, second, other):
        key.give_back()
    assert once(path) == new


def test_nor_after_a_process_has_died(path: Path) -> None:
    taken = once(path)
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline().strip() == taken
        assert once(path) == taken
        process.send_signal(signal.SIGKILL)
    new = once(path)
    assert new != taken
    assert once(path) == new


def test_without_a_place_there_is_a_new_one_every_time(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert once(tmp_path / "file/key") != once(tmp_path / "file/key")


@pytest.mark.parametrize("text", ["", "short", "x" * 200, "\xff" * 40])
def test_what_is_no_key_is_replaced(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    taken = once(path)
    assert len(taken) == 32
    assert once(path) == taken


def test_it_is_the_user_s_alone(path: Path) -> None:
    once(path)
    assert os.stat(path).st_mode & 0o777 == 0o600
