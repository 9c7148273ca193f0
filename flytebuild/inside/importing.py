"""Runs in an image's container: imports modules, and says what became of them.

`python -c TEXT WANTED`: WANTED is a JSON object with `modules`, which are imported in their order, and `packages`,
which are only looked for. It prints a JSON object: `failures` has what an import raised (`module`, `type`, `message`,
`missing`: the module that was not found, and `frames` of file, line, function and text), `absent` the packages that
are not there. What the modules print goes to standard error. It needs nothing but the standard library of Python 3.8.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import traceback
from typing import Any


def main(wanted: str) -> None:
    asked = json.loads(wanted)
    answer = os.dup(1)
    os.dup2(2, 1)
    failures = [failure for failure in map(_failure, asked["modules"]) if failure]
    absent = [name for name in asked["packages"] if not _is_there(name)]
    sys.stdout.flush()
    with os.fdopen(answer, "w", encoding="utf-8") as stream:
        json.dump({"failures": failures, "absent": absent}, stream)


def _failure(module: str) -> dict[str, Any] | None:
    try:
        importlib.import_module(module)
    except BaseException as error:  # noqa: BLE001 - a module may raise whatever it likes, SystemExit included
        told = traceback.TracebackException.from_exception(error)
        return {
            "module": module,
            "type": type(error).__name__,
            "message": str(error),
            "missing": error.name if isinstance(error, ModuleNotFoundError) else None,
            "frames": [
                [os.path.relpath(frame.filename), frame.lineno, frame.name, frame.line or ""]
                for frame in told.stack
                if not frame.filename.startswith("<") and "importlib" not in frame.filename
            ],
        }
    return None


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


if __name__ == "__main__":
    main(sys.argv[1])
