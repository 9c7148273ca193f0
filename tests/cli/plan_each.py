"""Runs `flytebuild plan main.py` in each of the given folders, each in a process of its own; run as a script.

`TEST_COMMAND` is another command than `plan`, or has more options.

The processes are forks of this one, which has imported everything: a start takes most of a plan's time. Prints a JSON
list with the exit code, what went to stdout and what went to stderr. With `PLAN_WITHOUT_PRIVILEGES` in the environment,
root may read no more than others.
"""

import ctypes
import json
import os
import sys
from pathlib import Path

import flytebuild.cli.plan
import flytebuild.cli.plan_text
import flytebuild.pipeline  # noqa: F401 - imported for the forks
from flytebuild.cli.main import main


def planned(folder: Path) -> tuple[int, str, str]:
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        for descriptor, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(folder.with_suffix(f".{name}"), os.O_CREAT | os.O_WRONLY), descriptor)
        if "PLAN_WITHOUT_PRIVILEGES" in os.environ:
            drop_capabilities()
        try:
            main([*os.environ.get("TEST_COMMAND", "plan").split(), "main.py"])
        except SystemExit as error:
            sys.stdout.flush()
            os._exit(int(error.code or 0))
        finally:
            os._exit(70)
    _, status = os.waitpid(child, 0)
    texts = (folder.with_suffix(f".{name}").read_text() for name in ("stdout", "stderr"))
    return (os.waitstatus_to_exitcode(status), *texts)  # type: ignore[return-value]


def drop_capabilities() -> None:
    """See capset(2): a header with the version and this process, and three sets of two words each, all empty."""
    header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, nothing):
        raise OSError(ctypes.get_errno(), "capset")


print(json.dumps([planned(Path(folder)) for folder in sys.argv[1:]]))
