"""What Flyte promises a task, besides calling others: one task per promise."""

import asyncio
import os
import time
from datetime import timedelta

import flyte
import flyte.errors
import flyte.report

env = flyte.TaskEnvironment(name="semantics", interruptible=True)
parents = flyte.TaskEnvironment(name="promises", depends_on=[env])
SLOWLY = flyte.RetryStrategy(count=3, backoff=flyte.Backoff(base=timedelta(seconds=1)))


@env.task
async def double(number: int) -> int:
    return 2 * number


@flyte.trace
async def shout(text: str) -> str:
    return f"{text.upper()}!"


@parents.task(report=True)
async def everything() -> list[str]:
    """A group, a traced function, a map and a report."""
    with flyte.group("a group"):
        doubled, shouted = await asyncio.gather(double(1), shout("hear"))
    mapped = [item async for item in flyte.map.aio(double, [2, 3], group_name="a map")]
    await flyte.report.replace.aio("<p>what was found</p>")
    await flyte.report.flush.aio()
    return [str(doubled), shouted, *map(str, mapped)]


@env.task(retries=SLOWLY)
async def worsen() -> str:
    """Fails in a way that may pass, then in one that does not."""
    if os.environ["FLYTE_ATTEMPT_NUMBER"] == "0":
        raise RuntimeError("this may pass")
    raise flyte.errors.NonRecoverableError("this does not")


@parents.task
async def despair() -> str:
    try:
        return await worsen()
    except flyte.errors.RuntimeUserError as error:
        return f"{type(error).__name__} {error.code}: {error}"


@env.task
def moment() -> float:
    begun = time.time()
    time.sleep(0.2)
    return begun


@parents.task
async def crowd() -> int:
    """More children at once than a run may have."""
    return len(await asyncio.gather(*(moment.aio() for _ in range(3))))


@env.task
async def import_late() -> str:
    from late import VALUE

    return VALUE
