"""Run the example as a user of any minor would, look at the run, and print it all as JSON; started in its folder."""

import json
import os
import pathlib
import sys

sys.path.insert(0, os.getcwd())

import flyte
import flyte.remote
from main import main

flyte.init_from_config(root_dir=pathlib.Path.cwd())
run = flyte.run(main, sequence="AAGGTTCCAA")
print("run", run.name, run.url, file=sys.stderr, flush=True)
run.wait(quiet=True)
again = flyte.remote.Run.get(name=run.name)
document = {
    "version": flyte.__version__,
    "run": run.name,
    "url": run.url,
    "phase": str(getattr(again.phase, "value", again.phase)).removeprefix("ACTION_PHASE_").lower(),
    "outputs": list(run.outputs()),
    "listed": run.name in [item.name for item in flyte.remote.Run.listall()],
    "actions": sorted(item.task_name for item in flyte.remote.Action.listall(for_run_name=run.name)),
}
print(json.dumps(document), flush=True)
# Native threads of the SDK may still be at work while the interpreter goes down, and then abort the process.
os._exit(0)
