"""Starts commands as forks of a process that has imported everything; run as a script, by `tests.command`.

It is given a socket, whose messages are calls: a JSON list of the program, its folder, its arguments and its
environment, with the descriptors of its stdout, its stderr and a report. The report's first line is its process, and
the second one, when it has ended, its exit code. The program is `flytebuild`, or a script by its path. With
`PLAN_WITHOUT_PRIVILEGES` in the environment, root may read no more than others.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import importlib
import json
import os
import runpy
import selectors
import socket
import sys
import sysconfig
import traceback

from flyte.syncify import syncify

from flytebuild.check import distributions
from flytebuild.registry.trust import trusted

IMPORTED = (
    "anyio._backends._asyncio",
    "docker",
    "docstring_parser",  # what the SDK imports with the first task, and with the first run
    "flyte._deploy",
    "flyte._internal.runtime.task_serde",
    "flyte.io",
    "flyte.remote._client.controlplane",
    "flyte.remote._task",
    "flyte.types",
    "grpc",
    "httpcore",
    "zstandard",
    "flytebuild.authoring.inputs",
    "flytebuild.authoring.loader",
    "flytebuild.authoring.run",
    "flytebuild.build.foresight",
    "flytebuild.build.images",
    "flytebuild.build.stores",
    "flytebuild.checks",
    "flytebuild.cli.build",
    "flytebuild.cli.code",
    "flytebuild.cli.plan",
    "flytebuild.cli.plan_text",
    "flytebuild.cli.progress",
    "flytebuild.cli.run",
    "flytebuild.cli.run_text",
    "flytebuild.pinning.locking",
    "flytebuild.pipeline",
    "flytebuild.runtime.client",
)
"""What commands would import."""

PATIENCE = 240
"""Seconds that a command may take."""

_LONGEST = 1 << 20
"""Bytes of a call."""

_LEFT: list[object] = []
"""What the parent's thread uses: closed here, it would close what others have opened."""

_SCRIPTS = sysconfig.get_path("scripts")


def serve(calls: socket.socket) -> None:
    """Start what is asked for until nobody asks any more."""
    running: dict[int, int] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(calls, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is calls:
                    message, given, _, _ = socket.recv_fds(calls, _LONGEST, 3)
                    if not message:
                        return
                    out, err, report = given
                    child = start(*json.loads(message), out=out, err=err)
                    os.close(out)
                    os.close(err)
                    os.write(report, f"{child}\n".encode())
                    running[child] = report
                    selector.register(os.pidfd_open(child), selectors.EVENT_READ, child)
                else:
                    selector.unregister(key.fileobj)
                    os.close(key.fd)
                    tell(running.pop(key.data), key.data)


def tell(report: int, child: int) -> None:
    """Tell how a process ended, to whoever still listens."""
    _, status = os.waitpid(child, 0)
    try:
        os.write(report, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    except BrokenPipeError:
        pass
    finally:
        os.close(report)


def start(program: str, folder: str, arguments: list[str], environ: dict[str, str], *, out: int, err: int) -> int:
    """Start a program in a process of its own; returns which one it is."""
    child = os.fork()
    if child:
        return child
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.closerange(3, max(map(int, os.listdir("/proc/self/fd"))) + 1)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environ)
        os._exit(run(program, arguments))
    finally:
        os._exit(70)


def run(program: str, arguments: list[str]) -> int:
    """Run a program in this process, as if it had been started; returns its exit code."""
    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    # The thread of the SDK's loop is in the parent only.
    _LEFT.append(syncify._bg_loop.loop)
    syncify._bg_loop.__init__("flyte_syncify")
    if "PLAN_WITHOUT_PRIVILEGES" in os.environ:
        drop_capabilities()
    try:
        if program == "flytebuild":
            from flytebuild.cli.main import main

            sys.argv[:] = [f"{_SCRIPTS}/{program}", *arguments]
            sys.path[0] = _SCRIPTS
            main(arguments)
        else:
            sys.argv[:] = [program, *arguments]
            sys.path[0] = os.path.dirname(program)
            runpy.run_path(program, run_name="__main__")
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
            return 1
        return error.code or 0
    except BaseException:  # noqa: BLE001 - also what ends a process
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def drop_capabilities() -> None:
    """See capset(2): a header with the version and this process, and three sets of two words each, all empty."""
    header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, nothing):
        raise OSError(ctypes.get_errno(), "capset")


if __name__ == "__main__":
    # As the command does it before it imports what listens to it.
    os.environ["GRPC_VERBOSITY"] = "NONE"
    for name in IMPORTED:
        importlib.import_module(name)
    # Reads what is installed, which stays the same.
    distributions.providers("flyte")
    # So are the certificates of this machine.
    trusted()
    # What is there by now is looked at, and so copied, by no collection in the forks.
    gc.freeze()
    assert len(os.listdir("/proc/self/task")) == 2, "forks would lack other threads than that of the SDK's loop"
    with socket.socket(fileno=int(sys.argv[1])) as calls:
        serve(calls)
