"""A table that passes from one container to another."""

from typing import Annotated

import flyte
from flyte.io import DataFrame

image = flyte.Image.from_debian_base().with_pip_packages("pandas==2.2.3")
env = flyte.TaskEnvironment(name="frames", image=image)
parents = flyte.TaskEnvironment(name="frame_owners", depends_on=[env])

# Parquet, which is the default, takes a package three times as large.
Frame = Annotated[DataFrame, "csv"]


@env.task
async def make(count: int) -> Frame:
    import pandas

    rows = [(number, f"row {number}") for number in range(count)]
    return DataFrame.wrap_df(pandas.DataFrame(rows, columns=["number", "text"]))


@env.task
async def add_up(frame: Frame) -> list[int]:
    import pandas

    table = await frame.open(pandas.DataFrame).all()
    return [len(table), int(table["number"].sum()), int(table["text"].str.len().max())]


@parents.task
async def pass_frame(count: int) -> list[int]:
    return await add_up(await make(count))
