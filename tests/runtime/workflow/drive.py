"""Run one task as a user would, and print how it went as JSON: `drive.py [MODULE.]TASK [INPUTS [CONTEXT]]`."""

import importlib
import json
import os
import pathlib
import sys

import flyte

HERE = pathlib.Path(__file__).parent

if __name__ == "__main__":
    module, _, name = sys.argv[1].rpartition(".")
    task = getattr(importlib.import_module(module or "flows"), name)
    inputs, context = (json.loads(text) for text in (*sys.argv[2:], "{}", "{}")[:2])
    flyte.init_from_config(root_dir=HERE)
    run = flyte.with_runcontext(**context).run(task, **inputs)
    print(json.dumps({"run": run.name, "url": run.url}), flush=True)
    run.wait(quiet=True)
    document = {"phase": str(run.phase.value)}
    if document["phase"] == "succeeded":
        document["outputs"] = list(run.outputs())
    print(json.dumps(document), flush=True)
    # The SDK's native threads may still be at work while the interpreter goes down, and then abort the process.
    os._exit(0)
