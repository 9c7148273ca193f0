"""Containers that know nothing of Flyte, fed by a task and read by it."""

import datetime
import pathlib
import tempfile

import flyte
import flyte.errors
from flyte.extras import ContainerTask
from flyte.io import Dir, File

SERVICE = "ghcr.io/acme/service:1"
python = flyte.Image.from_base("docker.io/library/python:3.11-slim-bookworm").clone(name="raw", extendable=True)

count = ContainerTask(
    name="count",
    image=python.with_env_vars({"OF": "the image"}),
    command=[
        "sh",
        "-ec",
        'wc -w < /in/text/words.txt > /out/words; echo "$1 $OF $MARK" > /out/said; cp /in/text/words.txt /out/copy; '
        "mkdir -p /out/parts/deep; cp -r /in/parts/. /out/parts/; cp /in/more/* /out/parts/deep/; "
        "date -u -d @0 +%Y-%m-%dT%H:%M:%SZ > /out/at; cat /in/wait > /out/wait; cat /in/inputs.json; "
        "printf true > /out/good; echo 1e3 > /out/size",
        "sh",
    ],
    arguments=["{{.inputs.times}}/{{ .inputs.whole }}/{{.inputs.maybe}}"],
    inputs={
        "text": File,
        "parts": Dir,
        "more": list[File],
        "times": int,
        "whole": bool,
        "maybe": str | None,
        "wait": datetime.timedelta,
    },
    outputs={
        "words": int,
        "said": str,
        "copy": File,
        "parts": Dir,
        "at": datetime.datetime,
        "wait": datetime.timedelta,
        "good": bool,
        "size": float,
    },
    input_data_dir="/in",
    output_data_dir="/out",
    file_input_layout="NAMED_DIR",
    env_vars={"MARK": "of the task"},
)
fails = ContainerTask(
    name="fails", image=SERVICE, command=["sh", "-c", "echo no good; exit 4"], outputs={"value": int}, retries=1
)
says = ContainerTask(
    name="says",
    image=SERVICE,
    command=["sh", "-c", "echo 'the disk is full' > /srv/data/out/_ERROR"],
    outputs={"x": int},
    # The image's user is not root, and this is below a volume of the image.
    output_data_dir="/srv/data/out",
)
keeps = ContainerTask(name="keeps", image=SERVICE, command=["sh", "-c", "echo twelve"], outputs={"value": int})
echo = ContainerTask(
    name="echo",
    image=SERVICE,
    command=["sh", "-c", "cat /var/inputs/word > /var/outputs/word"],
    inputs={"word": str},
    outputs={"word": str},
)
counts = flyte.TaskEnvironment.from_task("counts", count)
others = flyte.TaskEnvironment.from_task("others", fails, says, keeps, echo)
callers = flyte.TaskEnvironment("callers", depends_on=[counts, others])


@callers.task
async def use() -> list[str]:
    folder = pathlib.Path(tempfile.mkdtemp())
    (folder / "inner").mkdir()
    (folder / "inner/part").write_text("a part")
    for name, text in {"words.txt": "one two three", "a.txt": "first", "b.txt": "second"}.items():
        (folder / name).write_text(text)
    found = await count(
        text=await File.from_local(folder / "words.txt"),
        parts=await Dir.from_local(folder / "inner"),
        more=[await File.from_local(folder / name) for name in ("a.txt", "b.txt")],
        times=3,
        whole=True,
        maybe=None,
        wait=datetime.timedelta(minutes=90),
    )
    words, said, copy, told, at, wait, good, size = found
    async with copy.open("rb") as stream:
        copied = bytes(await stream.read()).decode()
    names = sorted([item.path.rpartition("/parts/")[2] async for item in told.walk()])
    return [str(words), said.strip(), copied, *names, at.isoformat(), str(wait), repr(good), repr(size)]


@callers.task
async def survive() -> list[str]:
    told = []
    for task in (fails, says, keeps):
        try:
            await task()
        except flyte.errors.RuntimeUserError as error:
            told.append(f"{error.code}: {error}")
    return told
