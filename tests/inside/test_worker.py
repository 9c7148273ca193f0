"""The worker in a process of its own; what stands in for Flyte's entrypoint executes its first argument."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from flytebuild.inside import text_of

STAMPED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (.*)")


PROGRAM = "import sys\nexec(sys.argv.pop(1))\n"


class Session:
    """A worker, which is told first that `files` are to be written."""

    def __init__(self, folder: Path, idle: float = 60, files: object = MappingProxyType({}), **variables: str) -> None:
        self.home = folder / "home"
        self.home.mkdir(exist_ok=True)
        self.secrets = folder / "secrets"
        (folder / "a0").write_text(PROGRAM)
        self.process = subprocess.Popen(
            [sys.executable, "-c", text_of("worker"), str(folder / "a0"), str(idle), str(self.secrets)],
            cwd=self.home,
            env={**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1", **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.logs: dict[str, list[str]] = {}
        self.say(files=dict(files))  # type: ignore[call-overload]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def say(self, **command: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def begin(self, name: str, *arguments: str, **environment: str) -> None:
        self.say(begin=name, arguments=list(arguments), environment=environment)

    def until(self, key: str, name: str | None = None) -> dict[str, Any]:
        """Read events until one has `key`, with the value `name` if that is given."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event = dict(json.loads(line))
            if "log" in event:
                self.logs.setdefault(event["of"], []).append(event["log"])
            if key in event and name in (None, event[key]):
                return event
        assert self.process.stderr is not None
        raise AssertionError(f"no `{key}` of {name}: {self.process.stderr.read()}")

    def log(self, name: str) -> list[str]:
        """The lines of an action's log without their times, which each has."""
        found = [STAMPED.fullmatch(line) for line in "".join(self.logs.get(name, ())).split("\n")[:-1]]
        assert all(found)
        return [match[1] for match in found if match]

    def run(self, name: str, *arguments: str, **environment: str) -> tuple[int, list[str]]:
        self.begin(name, *arguments, **environment)
        return int(self.until("ended", name)["code"]), self.log(name)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """One for all that need nothing of their own: to import the SDK is what takes time."""
    folder = tmp_path_factory.mktemp("worker")
    made = Session(folder, COMMON="all")
    (made.home / "of-the-image").write_text("text")
    yield made
    made.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Session]]:
    made: list[Session] = []

    def begin(*arguments: Any, **variables: str) -> Session:
        made.append(Session(tmp_path, *arguments, **variables))
        return made[-1]

    yield begin
    for item in made:
        item.close()


LOOK = """
import os, sys
print(sys.argv[1:], os.environ.get("MINE"), os.environ["COMMON"], sorted(os.listdir(".")), __name__)
print("trouble", file=sys.stderr)
open("made-by-an-action", "w").close()
os.environ["MINE"] = "changed"
print("changed before" if getattr(os, "changed", False) else "as imported")
os.changed = True
sys.exit(int(sys.argv[1]))
"""


def test_every_action_begins_with_what_was_imported_and_nothing_else(session: Session) -> None:
    for name, code in (("first", 0), ("second", 3)):
        ended, log = session.run(name, LOOK, str(code), MINE=name)
        assert ended == code
        assert sorted(log) == sorted(
            [f"['{code}'] {name} all ['of-the-image'] __main__", "trouble", "as imported"],
        )
    assert os.listdir(session.home) == ["of-the-image"]


def test_nothing_of_an_action_stays(start: Callable[..., Session]) -> None:
    session = start(TMPDIR="")
    code, log = session.run(
        "one",
        "import os, subprocess\n"
        "print(os.getcwd(), os.environ['TMPDIR'] or os.getcwd())\n"
        "print(subprocess.Popen(['sleep', '600']).pid)\n",
    )
    assert code == 0
    for folder in log[0].split():
        assert not Path(folder).exists()
    status = Path(f"/proc/{log[1]}/status")
    deadline = time.monotonic() + 60
    # It is killed with its action, and belongs to whoever collects orphans.
    while status.exists() and "State:\tZ" not in status.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    # Nor of the worker, which ends when nobody has anything more to say.
    assert session.process.stdin
    session.process.stdin.close()
    assert session.process.wait(60) == 0
    assert not Path(log[0].split()[0]).parent.exists()


def test_actions_side_by_side_and_one_that_is_killed(session: Session) -> None:
    sleep = "import time\nprint('here')\ntime.sleep(float(sys.argv[1]))"
    for name in ("long", "other"):
        session.begin(name, sleep, "600")
        session.until("begun", name)
    assert session.run("short", sleep, "0") == (0, ["here"])
    session.say(kill="long")
    assert session.until("ended") == {"ended": "long", "code": 137, "is_out_of_memory": False}
    assert session.run("next", sleep, "0") == (0, ["here"])
    session.say(kill="other")
    session.until("ended", "other")


def test_exits_as_a_shell_counts_them(session: Session) -> None:
    assert session.run("signalled", "import os\nos.kill(os.getpid(), 15)")[0] == 143
    code, log = session.run("raised", "raise LookupError('of the action')")
    assert code == 1
    assert "LookupError: of the action" in log


def test_logs_of_any_bytes_and_length(session: Session) -> None:
    code, log = session.run(
        "binary", "sys.stdout.buffer.write(b'\\xff\\x00binary\\n' + b'x' * 100_000 + b'\\n\\n' + b'no end')"
    )
    assert code == 0
    assert log == ["\ufffd\x00binary", "x" * 100_000, "", "no end"]


def test_files_come_first_and_are_its_own(start: Callable[..., Session]) -> None:
    session = start(60, {"group/key": "the secret\n"})
    path = session.secrets / "group" / "key"
    assert session.run("one", "print(open(sys.argv[1]).read())", str(path)) == (0, ["the secret", ""])
    assert path.stat().st_mode & 0o777 == 0o600


def test_it_ends_when_it_is_idle(start: Callable[..., Session]) -> None:
    assert start(0.1).process.wait(60) == 0


def test_it_ends_with_the_last_action_when_nobody_can_tell_it_more(start: Callable[..., Session]) -> None:
    session = start()
    session.begin("one", "import time\ntime.sleep(0.3)\nprint('done')")
    session.until("begun")
    assert session.process.stdin is not None
    session.process.stdin.close()
    assert session.until("ended", "one")["code"] == 0
    assert session.log("one") == ["done"]
    assert session.process.wait(60) == 0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("__version__ = '3.0.1'\n", "flyte 3.0.1 is not among the versions whose threads are known"),
        ("raise ImportError('none')\n", "`flyte` cannot be imported: none"),
        (
            "import threading, time\n__version__ = '2.12.1'\n"
            "threading.Thread(target=time.sleep, args=(600,), daemon=True, name='new_one').start()\n",
            "flyte 2.12.1 starts threads that a fork would lack: new_one",
        ),
    ],
)
def test_an_sdk_that_cannot_be_shared_is_refused(
    start: Callable[..., Session], tmp_path: Path, text: str, why: str
) -> None:
    (tmp_path / "flyte.py").write_text(text)
    session = start(PYTHONPATH=str(tmp_path))
    assert session.until("refused") == {"refused": why}
    assert session.process.wait(60) == 0


def test_a_large_working_directory_is_refused(start: Callable[..., Session], tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    for number in range(2001):
        (tmp_path / "home" / str(number)).touch()
    assert "to copy it for every action" in start().until("refused")["refused"]
