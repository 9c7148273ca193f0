"""Loads files and prints, as JSON, what the given targets of them need; run as a script by the loader's tests.

`load_and_print.py TARGETS PATH...` does it once. Without arguments it does it for every line of its input, which is
`[FOLDER, TARGETS, PATHS]`: in that folder and in a fork, so that only the first one waits for the SDK's import.
"""

import json
import os
import sys
import traceback
from pathlib import Path

import flyte.io
import flyte.types  # noqa: F401 - what the SDK imports with the first task

from flytebuild.authoring.loader import load
from flytebuild.errors import FlytebuildError, LoadError


def answer(targets: list[str], paths: list[str]) -> None:
    try:
        nodes = load([Path(item) for item in paths]).needed(targets)
        print(json.dumps([[node.name, node.tasks, node.depends_on] for node in nodes]))
    except FlytebuildError as error:
        trace = error.traceback if isinstance(error, LoadError) else ""
        print(json.dumps({"type": type(error).__name__, "message": error.message, "hint": error.hint, "trace": trace}))


def answer_in_fork(folder: str, targets: list[str], paths: list[str]) -> None:
    child = os.fork()
    if not child:
        try:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.chdir(folder)
            answer(targets, paths)
        except BaseException:  # noqa: BLE001 - also what ends a process
            print(json.dumps(traceback.format_exc()))
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(child, 0)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        answer(json.loads(sys.argv[1]), sys.argv[2:])
    else:
        for line in iter(sys.stdin.readline, ""):
            answer_in_fork(*json.loads(line))
