"""What the tests of warm containers run: tasks that look at where they are, and tasks that end badly beside others."""

import asyncio
import contextlib
import os
import pathlib
import subprocess
import time

import flyte
import flyte.errors

env = flyte.TaskEnvironment(name="plain")
small = flyte.TaskEnvironment(name="limited", resources=flyte.Resources(cpu=1, memory="250Mi"))
reused = flyte.TaskEnvironment(name="reused", reusable=flyte.ReusePolicy(replicas=1, concurrency=1, idle_ttl=30))
parents = flyte.TaskEnvironment(name="parents", depends_on=[env, small, reused])


@env.task
def look(number: int) -> list[str]:
    """Where it is, what it is, and what others have left there."""
    left = pathlib.Path("left")
    found = [os.environ["HOSTNAME"], os.environ["ACTION_NAME"], str(left.exists()), str(hasattr(flyte, "touched"))]
    left.touch()
    flyte.touched = True
    print("number", number)
    return found


@parents.task
async def look_around(count: int) -> list[list[str]]:
    return list(await asyncio.gather(*(look.aio(number) for number in range(count))))


@env.task(timeout=2)
def too_slow() -> str:
    time.sleep(600)
    return "never"


@env.task
async def patient() -> str:
    await asyncio.sleep(4)
    return os.environ["HOSTNAME"]


@parents.task
async def beside() -> list[str]:
    """One that is stopped by its time limit, and one beside it in the same container."""
    slow, fine = await asyncio.gather(too_slow.aio(), patient(), return_exceptions=True)
    return [type(slow).__name__, str(fine)]


@small.task
async def devour(size: int) -> str:
    return os.environ["HOSTNAME"] if len(b"x" * size) == size else ""


@parents.task
async def starve() -> list[str]:
    """One within its limits, one beyond them, and one more."""
    found = []
    for size in (1, 1 << 30, 2):
        try:
            found.append(await devour(size))
        except flyte.errors.OOMError as error:
            found.append(type(error).__name__)
    return found


@reused.task
async def nest(depth: int) -> list[str]:
    below = await nest(depth - 1) if depth else []
    return [os.environ["HOSTNAME"], *below]


@env.task(retries=1)
def until_released(path: str) -> str:
    """Wait for a file in this very container; the second attempt waits for nothing."""
    attempt = os.environ["FLYTE_ATTEMPT_NUMBER"]
    print("waiting in attempt", attempt, flush=True)
    while attempt == "0" and not pathlib.Path(path).exists():
        time.sleep(0.05)
    print("released", flush=True)
    return attempt


@parents.task
async def maybe(path: str) -> str:
    """Call a task, or none."""
    return await until_released.aio(path) if path else "nothing called"


def words_of_others() -> list[list[str]]:
    """What actions of this container have left in files, and given to their programs."""
    files = [path.read_text() for path in pathlib.Path("/tmp").rglob("word")]
    variables = set()
    for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            variables |= {item for item in path.read_bytes().decode().split("\0") if item.startswith("WORD=")}
    return [sorted(files), sorted(item.removeprefix("WORD=") for item in variables)]


@env.task
def pry(word: str) -> list[list[str]]:
    """Leave a word and look what others have left, each when it is told to; then stay until it may go."""
    pathlib.Path(os.environ["TMPDIR"], "word").write_text(word)
    subprocess.Popen(["sleep", "600"], env={**os.environ, "WORD": word})
    print("ready", flush=True)
    wait_for("/tmp/look")
    found = words_of_others()
    print("looked", flush=True)
    wait_for("/tmp/leave")
    return found


def wait_for(path: str) -> None:
    while not pathlib.Path(path).exists():
        time.sleep(0.05)


@parents.task
async def pry_twice(words: list[str]) -> list[list[list[str]]]:
    """Two that look for each other, in one run."""
    return list(await asyncio.gather(*(pry.aio(word) for word in words)))
