"""Runs in a container of a task's image: imports Flyte's SDK once, then forks for every action that it is told of.

`python worker.py PROGRAM IDLE FOLDER`: PROGRAM is the image's `a0`, which every fork becomes with arguments and
variables of its own. After IDLE seconds without an action the process ends. The texts of files for FOLDER come first.

Commands come on standard input and events leave on standard output, each a JSON object on a line:

    {"files": {PATH: TEXT}}                                       {"ready": true}
    {"begin": NAME, "arguments": [...], "environment": {...}}     {"begun": NAME}
    {"kill": NAME}                                                {"of": NAME, "log": LINES}
                                                                  {"ended": NAME, "code": N, "is_out_of_memory": BOOL}
    {"refused": WHY} instead of all that, where actions cannot share what was imported.

With an empty IDLE it tells nothing and forks nothing: it becomes the one action of the first command, which has
`files`, `arguments` and `environment`, in the image's own working directory.

LINES are whole lines, each after the time at which it was written, as `2026-01-31T12:00:00.123456789Z text`. When the
standard input ends, no more actions begin, and the process ends with the last. Of an action nothing stays: neither
processes nor its working directory, which is a copy of the image's. Python 3.10 and Flyte's SDK are all that it needs.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import inspect
import json
import os
import runpy
import selectors
import shutil
import signal
import sys
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIRST, _LAST = (2, 3), (2, 12)
"""The versions of the SDK whose threads are known."""

MODULES = (
    "flyte._bin.runtime",
    "flyte._internal.controllers.remote",
    "flyte._internal.controllers.remote._client",
    "flyte._internal.image_cache",
    "flyte._internal.resolvers.default",
    "flyte._internal.runtime.entrypoints",
    "flyte._internal.runtime.taskrunner",
    "flyte._utils.asyncify",
    "flyte.errors",
    "flyte.git",
    "flyte.io",
    "flyte.remote",
    "flyte.remote._client.auth._interceptors.default_metadata",
    "flyte.remote._client.auth._interceptors.retry",
    "flyte.remote._client.controlplane",
    "flyte.storage",
    "flyte.storage._parallel_reader",
    # Of others, what the SDK needs and imports late.
    "docstring_parser",
    "faulthandler",
    "httpcore",
    "opentelemetry.metrics",
    "opentelemetry.propagate",
    "pyqwest._glue",
    "sniffio",
)
"""What an action imports before its own code; a version of the SDK that lacks one imports it later."""

_LARGEST_FOLDER = 64 << 20
_MOST_FILES = 2000
"""A working directory with more in it is not copied for every action."""

_LONGEST_LINE = 16 << 10
"""A longer one is passed on before its end, as the engine does it with logs."""

_CHUNK = 64 << 10
_OUT_OF_MEMORY = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
"""Where the kernel counts the processes of this container that it killed for their memory: cgroups v2 and v1."""


class Refused(Exception):
    """Raised when forks of this process would not be as good as new ones; says why."""


class Lines:
    """One stream of an action, cut into lines with their times."""

    def __init__(self) -> None:
        self._rest = b""
        self._is_inside = False

    def add(self, data: bytes, *, is_last: bool = False) -> str:
        """What can be passed on by now."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        pieces = [self._piece(line, "\n") for line in whole]
        if self._rest and (is_last or len(self._rest) > _LONGEST_LINE):
            pieces.append(self._piece(self._rest, "\n" if is_last else ""))
            self._rest = b""
        return "".join(pieces)

    def _piece(self, line: bytes, end: str) -> str:
        stamp = "" if self._is_inside else f"{_now()} "
        self._is_inside = not end
        return f"{stamp}{line.decode('utf-8', 'replace')}{end}"


class Action:
    """One fork, from its start until nothing of it is left."""

    def __init__(self, name: str, folder: str, kills: int) -> None:
        self.name = name
        self.folder = folder
        self.kills = kills
        self.pid = 0
        self.streams: dict[int, Lines] = {}

    def kill(self) -> None:
        """Kill it with all that belongs to it."""
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError):
                kill(self.pid, signal.SIGKILL)


class Worker:
    """The forks of this process."""

    def __init__(self, program: str, idle: float, commands: int, events: int) -> None:
        self.program = program
        self.idle = idle
        self.commands = commands
        self.events = events
        self.home = os.getcwd()
        self.base = tempfile.mkdtemp(prefix="flytebuild-")
        self.actions: dict[str, Action] = {}
        self.count = 0
        self.rest = b""
        self.has_more = True
        self.wakening, waking = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
        self.own = [commands, events, self.wakening, waking]
        self.selector = selectors.PollSelector()
        self.selector.register(commands, selectors.EVENT_READ, None)
        self.selector.register(self.wakening, selectors.EVENT_READ, None)

    def tell(self, **event: Any) -> None:
        """Send an event."""
        data = json.dumps(event).encode() + b"\n"
        while data:
            data = data[os.write(self.events, data) :]

    def work(self) -> tuple[str, dict[str, Any]] | None:
        """Work until there is nothing more to do: None. In a fork, the action's folder and the command that began it.

        So a fork leaves everything that is the worker's, this function included, and goes on as `main`.
        """
        until = time.monotonic() + self.idle
        while True:
            for command in self._commands():
                if "begin" in command and (folder := self._begin(command["begin"])):
                    return folder, command
                if "kill" in command and command["kill"] in self.actions:
                    self.actions[command["kill"]].kill()
            if self.actions:
                until = time.monotonic() + self.idle
            elif not self.has_more or time.monotonic() >= until:
                return None
            for key, _ in self.selector.select(None if self.actions else until - time.monotonic()):
                if key.fd == self.commands:
                    self._read()
                elif key.fd == self.wakening:
                    os.read(self.wakening, _CHUNK)
                    self._reap()
                elif key.data.name in self.actions:
                    self._pass_on(key.data, key.fd)

    def first(self) -> dict[str, Any]:
        """Wait for the first command."""
        while self.has_more:
            for command in self._commands():
                return command
            self._read()
        raise SystemExit(0)

    def _commands(self) -> Iterator[dict[str, Any]]:
        while b"\n" in self.rest:
            line, _, self.rest = self.rest.partition(b"\n")
            yield json.loads(line)

    def _read(self) -> None:
        data = os.read(self.commands, _CHUNK)
        if not data:
            self.has_more = False
            self.selector.unregister(self.commands)
        self.rest += data

    def _begin(self, name: str) -> str | None:
        """Fork for an action; its folder in the fork, None in this process."""
        self.count += 1
        action = Action(name, os.path.join(self.base, str(self.count)), _kills())
        os.mkdir(action.folder, 0o700)
        pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(2)]
        action.pid = os.fork()
        if not action.pid:
            os.setsid()
            for number, (_, end) in enumerate(pipes, 1):
                os.dup2(end, number)
            for descriptor in (*self.own, *(end for pipe in pipes for end in pipe), *self._streams()):
                os.close(descriptor)
            return action.folder
        for start, end in pipes:
            os.close(end)
            os.set_blocking(start, False)
            action.streams[start] = Lines()
            self.selector.register(start, selectors.EVENT_READ, action)
        self.actions[name] = action
        self.tell(begun=name)
        return None

    def _streams(self) -> list[int]:
        return [descriptor for action in self.actions.values() for descriptor in action.streams]

    def _pass_on(self, action: Action, descriptor: int) -> bool:
        """Pass a piece of an action's log on; whether there may be more."""
        if descriptor not in action.streams:
            return False
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return False
        if log := action.streams[descriptor].add(data):
            self.tell(of=action.name, log=log)
        if not data:
            self._close(action, descriptor)
        return bool(data)

    def _close(self, action: Action, descriptor: int) -> None:
        if log := action.streams.pop(descriptor).add(b"", is_last=True):
            self.tell(of=action.name, log=log)
        self.selector.unregister(descriptor)
        os.close(descriptor)

    def _reap(self) -> None:
        """Take note of the processes that have ended, orphans included."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for action in [item for item in self.actions.values() if item.pid == pid]:
                self._end(action, os.waitstatus_to_exitcode(status))

    def _end(self, action: Action, code: int) -> None:
        action.kill()
        for descriptor in list(action.streams):
            while self._pass_on(action, descriptor):
                pass
            if descriptor in action.streams:
                self._close(action, descriptor)
        kills = _kills()
        is_out_of_memory = code != 0 and kills > action.kills
        del self.actions[action.name]
        if is_out_of_memory:
            # Whoever fails next is not to blame for the same.
            for other in self.actions.values():
                other.kills = kills
        elif not self.actions and os.getpid() == 1:
            # What had left its action's session ends here.
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
        shutil.rmtree(action.folder, ignore_errors=True)
        # As shells count: a process that a signal ended has no code of its own.
        self.tell(ended=action.name, code=code if code >= 0 else 128 - code, is_out_of_memory=is_out_of_memory)


def prepare() -> None:
    """Import what every action needs. Raises Refused where forks cannot share it."""
    try:
        import flyte
    except ImportError as error:
        raise Refused(f"`flyte` cannot be imported: {error}") from error
    version = tuple(int(part) for part in flyte.__version__.split(".")[:2] if part.isdecimal())
    if not _FIRST <= version <= _LAST:
        raise Refused(f"flyte {flyte.__version__} is not among the versions whose threads are known")
    import_modules()
    threads = {thread.name for thread in threading.enumerate()} - {threading.main_thread().name}
    if threads != {"flyte_syncify"} or len(os.listdir("/proc/self/task")) != 2:
        raise Refused(f"flyte {flyte.__version__} starts threads that a fork would lack: {', '.join(sorted(threads))}")
    if list(inspect.signature(_syncify().__init__).parameters) != ["name"]:
        raise Refused(f"the background loop of flyte {flyte.__version__} cannot be made anew")
    # Pages that the collector does not touch are shared by all forks.
    gc.collect()
    gc.freeze()


def import_modules() -> None:
    """Import what every action needs, as far as it is there."""
    for name in MODULES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _syncify() -> Any:
    """The SDK's loop in a thread of its own."""
    try:
        from flyte.syncify import syncify

        return syncify._bg_loop
    except (ImportError, AttributeError) as error:
        raise Refused(f"the SDK's background loop is not where it was: {error}") from error


def check_folder(folder: str) -> None:
    """Raise Refused for a working directory that cannot be copied for every action."""
    size = count = 0
    if folder == "/":
        raise Refused("the image's working directory is `/`, of which not every action can have its own")
    for top, folders, files in os.walk(folder):
        count += len(folders) + len(files)
        for name in files:
            with contextlib.suppress(OSError):
                size += os.lstat(os.path.join(top, name)).st_size
        if size > _LARGEST_FOLDER or count > _MOST_FILES:
            raise Refused(f"there is too much in the image's working directory `{folder}` to copy it for every action")


def write_files(folder: str, files: dict[str, str]) -> None:
    """Write texts that only this user may read."""
    before = os.umask(0o077)
    for path, text in files.items():
        target = os.path.join(folder, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "w", encoding="utf-8", newline="") as file:
            file.write(text)
    os.umask(before)


def become(program: str, home: str, folder: str, arguments: list[str], environment: dict[str, str]) -> None:
    """Become an action: the SDK's own program, as if it had just been started."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        # Of all processes in the container, the worker is the last that the kernel kills for its memory.
        file.write("500")
    work, temporary = os.path.join(folder, "work"), os.path.join(folder, "tmp")
    shutil.copytree(home, work, symlinks=True)
    os.mkdir(temporary)
    os.chdir(work)
    os.environ.setdefault("TMPDIR", temporary)
    os.environ.update(environment)
    loop = _syncify()
    # Its thread is in the parent only. What it left is kept: closed later, it would close what others have opened.
    kept.append(loop.loop)
    loop.__init__("flyte_syncify")
    execute(program, arguments)


def become_alone(program: str, folder: str) -> None:
    """Become the one action that this process is there for, once it is told of it."""
    import_modules()
    line = sys.stdin.buffer.readline()
    if not line:
        return
    command = json.loads(line)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    write_files(folder, command["files"])
    os.environ.update(command["environment"])
    execute(program, command["arguments"])


def execute(program: str, arguments: list[str]) -> None:
    """Execute the SDK's program as the interpreter would; it ends the process."""
    sys.argv = [program, *arguments]
    runpy.run_path(program, run_name="__main__")


kept: list[Any] = []


def _kills() -> int:
    for path in _OUT_OF_MEMORY:
        with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
            for line in file:
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return 0


def _now() -> str:
    whole, rest = divmod(time.time_ns(), 10**9)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{rest:09}Z"


def _take_streams() -> tuple[int, int]:
    """Take the standard input and output away from whatever else reads and prints in this process."""
    commands, events = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return commands, events


def main(program: str, idle: str, folder: str) -> None:
    sys.path[0] = os.path.dirname(program)
    if not idle:
        become_alone(program, folder)
        return
    worker = Worker(program, float(idle), *_take_streams())
    try:
        check_folder(worker.home)
        write_files(folder, worker.first()["files"])
        prepare()
    except (Refused, OSError) as error:
        worker.tell(refused=str(error))
        return
    worker.tell(ready=True)
    if begun := worker.work():
        own_folder, command = begun
        become(program, worker.home, own_folder, command["arguments"], command["environment"])
    else:
        shutil.rmtree(worker.base, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
