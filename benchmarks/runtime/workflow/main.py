"""What is measured: tasks that do nothing, many of them at once, and files that pass from one to another."""

import asyncio
import subprocess
import time

import flyte
from flyte.io import File

image = flyte.Image.from_debian_base().with_apt_packages("curl")
env = flyte.TaskEnvironment(name="bench", image=image)
parents = flyte.TaskEnvironment(name="bench_parents", image=image, depends_on=[env])

PIECE = b"\0" * (1 << 20)


@env.task
async def trivial(number: int = 1) -> int:
    return number


@parents.task
async def fan_out(count: int = 100) -> int:
    return sum(await asyncio.gather(*(trivial(number) for number in range(count))))


@env.task
async def write(mib: int) -> tuple[File, float]:
    begun = time.monotonic()
    file = File.new_remote()
    async with file.open("wb") as stream:
        for _ in range(mib):
            await stream.write(PIECE)
    return file, time.monotonic() - begun


@env.task
async def read(file: File) -> float:
    begun = time.monotonic()
    async with file.open("rb") as stream:
        while await stream.read(len(PIECE)):
            pass
    return time.monotonic() - begun


@parents.task
async def transfer(mib: int = 200) -> list[float]:
    """The seconds that a file takes out of one container, and into another."""
    file, written = await write(mib)
    return [written, await read(file)]


@env.task
async def fetch(url: str) -> float:
    """The seconds that `curl` takes."""
    command = [
        "curl",
        "--silent",
        "--show-error",
        "--fail",
        "--output",
        "/dev/null",
        "--write-out",
        "%{time_total}",
        url,
    ]
    done = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, text=True)
    return float(done.stdout)
