"""Runs `flytebuild` many times, each time in a process of its own; run as a script.

The processes are forks of this one, which has imported everything: a start takes most of a command's time. Every line
of its input is a call, as a JSON list: a folder, arguments, and variables of the environment. For each it prints a line
with the exit code, what went to stdout and what went to stderr. With `PLAN_WITHOUT_PRIVILEGES` among the variables,
root may read no more than others.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import tempfile

# Imported for the forks.
import anyio._backends._asyncio  # noqa: F401
import docker  # noqa: F401
import flyte.io
import flyte.types  # noqa: F401 - what the SDK imports with the first task
import httpcore  # noqa: F401

import flytebuild.authoring.loader
import flytebuild.build.foresight
import flytebuild.build.images
import flytebuild.checks
import flytebuild.cli.plan
import flytebuild.cli.plan_text
import flytebuild.cli.progress
import flytebuild.pinning.locking
import flytebuild.pipeline
import flytebuild.runtime.client  # noqa: F401
from flytebuild.check import distributions
from flytebuild.cli.main import main


def called(folder: str, arguments: list[str], environ: dict[str, str]) -> tuple[int, str, str]:
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = os.fork()
        if child == 0:
            os.chdir(folder)
            os.environ.update(environ)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            if "PLAN_WITHOUT_PRIVILEGES" in environ:
                drop_capabilities()
            try:
                main(arguments)
            except SystemExit as error:
                sys.stdout.flush()
                os._exit(int(error.code or 0))
            finally:
                os._exit(70)
        _, status = os.waitpid(child, 0)
        out.seek(0)
        err.seek(0)
        return os.waitstatus_to_exitcode(status), out.read(), err.read()


def drop_capabilities() -> None:
    """See capset(2): a header with the version and this process, and three sets of two words each, all empty."""
    header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, nothing):
        raise OSError(ctypes.get_errno(), "capset")


if __name__ == "__main__":
    # Reads what is installed, which stays the same.
    distributions.providers("flyte")
    for line in iter(sys.stdin.readline, ""):
        print(json.dumps(called(*json.loads(line))), flush=True)
