"""Commands as forks of one process that has imported what they take: a start is most of what a short one takes."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile

_TOP = Path(__file__).parents[1]


def command(arguments: Sequence[str], folder: Path, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `flytebuild` to its end, with nothing on stdin, in a folder and in this environment alone."""
    return Fork("flytebuild", arguments, folder, environ).end()


class Fork:
    """`flytebuild`, or a script, while it runs; `out` is what it writes to stdout.

    One that takes longer than `tests.forks.PATIENCE` ends with its stacks on stderr.
    """

    def __init__(self, program: str | Path, arguments: Sequence[str], folder: Path, environ: Mapping[str, str]) -> None:
        self._command = [str(program), *arguments]
        call = json.dumps((str(program), str(folder), list(arguments), dict(environ)))
        self._err = TemporaryFile("w+")  # noqa: SIM115 - closed by `end`
        (out, stdout), (told, report) = os.pipe(), os.pipe()
        try:
            socket.send_fds(_server(), [call.encode()], [stdout, self._err.fileno(), report])
        finally:
            os.close(stdout)
            os.close(report)
        self.out, self._report = os.fdopen(out), os.fdopen(told)
        self._pid = int(self._report.readline())

    def told(self) -> str:
        """What it has written to stderr so far."""
        return os.pread(self._err.fileno(), os.fstat(self._err.fileno()).st_size, 0).decode()

    def end(self) -> subprocess.CompletedProcess[str]:
        """Wait until it has ended; `stdout` is what nobody has read so far."""
        with self.out, self._err, self._report:
            try:
                out, code = self.out.read(), int(self._report.readline())
            except BaseException:
                self._kill()
                raise
            self._err.seek(0)
            return subprocess.CompletedProcess(self._command, code, out, self._err.read())

    def kill(self) -> None:
        """End it, if it has not ended."""
        self._kill()
        self.end()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)


@cache
def _server() -> socket.socket:
    """Leads to the process that commands are forks of, which ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.forks", str(theirs.fileno())],
            cwd=_TOP,
            env={name: value for name, value in os.environ.items() if not name.startswith("FLYTE")},
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
    atexit.register(_end, ours, process)
    return ours


def _end(calls: socket.socket, process: subprocess.Popen[bytes]) -> None:
    calls.close()
    process.wait()
