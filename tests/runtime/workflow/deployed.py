"""Deploy an environment with the SDK, then run its task by reference: `deployed.py VERSION`; prints JSON."""

import json
import pathlib
import sys

import flyte
import flyte.errors
import flyte.remote

HERE = pathlib.Path(__file__).parent
env = flyte.TaskEnvironment(name="deployed")
timed = flyte.TaskEnvironment(name="timed")


@env.task
async def double(x: int, y: int = 1) -> int:
    return 2 * x + y


@timed.task(triggers=flyte.Trigger(name="nightly", automation=flyte.Cron("0 0 * * *")))
async def nightly() -> int:
    return 1


if __name__ == "__main__":
    version = sys.argv[1]
    flyte.init_from_config(root_dir=HERE)
    flyte.deploy(env, version=version)
    flyte.deploy(env, version=version)
    tasks = [flyte.remote.Task.get("deployed.double", version=version)]
    tasks.append(flyte.remote.Task.get("deployed.double", auto_version="latest"))
    document = {"versions": [task.fetch().version for task in tasks]}
    run = flyte.run(tasks[0], x=3)
    run.wait(quiet=True)
    document |= {"phase": str(run.phase.value), "outputs": list(run.outputs())}
    for name, action in (
        ("missing", lambda: flyte.remote.Task.get("deployed.double", version="never").fetch()),
        ("triggers", lambda: flyte.deploy(timed, version=version)),
    ):
        try:
            action()
        except flyte.errors.BaseRuntimeError as error:
            document[name] = [type(error).__name__, str(error)]
    print(json.dumps(document), flush=True)
