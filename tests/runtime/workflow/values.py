"""What passes between containers, and what goes wrong beside what goes on."""

import asyncio
import os
import tempfile
from pathlib import Path

import flyte
import flyte.errors
from flyte.io import Dir, File
from obstore.exceptions import BaseError

env = flyte.TaskEnvironment(name="values")
parents = flyte.TaskEnvironment(name="owners", depends_on=[env])


class Point:
    """A value that Flyte knows no form of: it is pickled."""

    def __init__(self, x: int) -> None:
        self.x = x


@env.task
async def make(names: list[str]) -> tuple[Dir, Point]:
    folder = Path(tempfile.mkdtemp())
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name.upper())
    return await Dir.from_local(str(folder)), Point(len(names))


def texts(folder: str) -> list[str]:
    return [path.read_text() for path in sorted(Path(folder).rglob("*")) if path.is_file()]


@env.task
async def take(folder: Dir, point: Point) -> list[str]:
    return [*texts(await folder.download()), str(point.x)]


@parents.task
async def pass_on() -> list[str]:
    """A folder and a pickled value, from one container to another."""
    folder, point = await make(["a", "below/b"])
    return await take(folder, point)


@env.task
async def break_down() -> str:
    raise ValueError("one of two")


@env.task
async def go_on() -> str:
    await asyncio.sleep(600)
    return "never"


@parents.task
async def one_of_two() -> list[str]:
    return list(await asyncio.gather(go_on(), break_down()))


@env.task
async def babble() -> int:
    """Prints every byte there is."""
    os.write(1, bytes(range(256)) + b"\nafter it\n")
    return 1


@env.task(max_inline_io_bytes=1000)
async def say_much() -> str:
    return "x" * 2000


@parents.task
async def listen() -> str:
    try:
        return await say_much()
    except flyte.errors.RuntimeUserError as error:
        return f"user {error.code}"


@env.task
async def keep(size: int) -> int:
    await write(size)
    return size


async def write(size: int) -> None:
    async with File.new_remote().open("wb") as stream:
        await stream.write(bytes(size))


@env.task
async def hoard() -> int:
    """Writes files until the store takes no more, not even a small one."""
    for size in (1 << 20, 1 << 16, 1 << 12):
        problem = None
        while problem is None:
            try:
                await write(size)
            except (OSError, BaseError) as error:
                problem = error
    raise problem
