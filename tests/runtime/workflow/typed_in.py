# Read from the standard input, as a notebook's cells are typed in: there is no file that a container could import.
import json
import os

import flyte

import flytebuild

env = flyte.TaskEnvironment(name="typed")
caller = flyte.TaskEnvironment(name="caller", depends_on=[env])
OFFSET = 100


@env.task
async def shifted(number: int) -> int:
    return number + OFFSET


@caller.task
async def twice(number: int) -> list[int]:
    return [await shifted(number), await shifted(number + 1)]


flyte.init_from_config()
run = flyte.with_runcontext(interactive_mode=True).run(twice, number=1)
run.wait(quiet=True)
print(json.dumps(list(run.outputs())), flush=True)

run = flytebuild.run(shifted, number=2)
run.wait(quiet=True)
print(json.dumps(list(run.outputs())), flush=True)
os._exit(0)
