from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from flytebuild.runtime.journal import FILE_NAME, Database
from flytebuild.runtime.model import Action
from flytebuild.runtime.results import Results
from flytebuild.runtime.storage import ObjectStore
from tests.runtime import samples

OUTPUTS = "s3://flytebuild/runs/r1/c1/1"


class Shelf:
    def __init__(self, folder: Path) -> None:
        self.now = samples.NOW
        self.store = ObjectStore(folder / "objects")
        self.results = Results(Database(folder / FILE_NAME), self.store, lambda: self.now)
        self.path = self.store.path_of(f"{OUTPUTS}/outputs.pb")
        self.path.parent.mkdir(parents=True)
        self.path.touch()
        self.results.keep(samples.run(), action(), OUTPUTS)


def action(**metadata: object) -> Action:
    spec = samples.task_spec()
    for name, value in metadata.items():
        setattr(spec.task_template.metadata, name, value)
    return replace(samples.action("c1", "a0", spec), cache_key="key")


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_within_a_project_and_domain(shelf: Shelf) -> None:
    found = asyncio.run(shelf.results.find(samples.run("r2"), action()))
    assert found is not None
    assert (found.outputs, found.run, found.action) == (OUTPUTS, "r1", "c1")
    assert asyncio.run(shelf.results.find(replace(samples.run("r2"), project="other"), action())) is None
    assert asyncio.run(shelf.results.find(samples.run("r2"), replace(action(), cache_key=""))) is None
    assert asyncio.run(shelf.results.find(samples.run("r2"), replace(action(), cache_key="other"))) is None


@pytest.mark.parametrize("is_new", [True, False])
def test_a_run_that_overwrites(shelf: Shelf, is_new: bool) -> None:
    run = samples.run("r2")
    if is_new:
        run.spec.cache_config.overwrite_cache = True
    else:
        run.spec.overwrite_cache = True
    assert asyncio.run(shelf.results.find(run, action())) is None


def test_a_largest_age(shelf: Shelf) -> None:
    wanted = action()
    assert wanted.task is not None
    wanted.task.task_template.metadata.cache_max_age.FromTimedelta(timedelta(hours=1))
    shelf.now += timedelta(minutes=59)
    assert asyncio.run(shelf.results.find(samples.run(), wanted))
    shelf.now += timedelta(minutes=2)
    assert asyncio.run(shelf.results.find(samples.run(), wanted)) is None
    assert asyncio.run(shelf.results.find(samples.run(), action()))


def test_outputs_that_are_gone_are_no_result(shelf: Shelf) -> None:
    shelf.path.unlink()
    assert asyncio.run(shelf.results.find(samples.run(), action())) is None
    shelf.path.touch()
    assert asyncio.run(shelf.results.find(samples.run(), action())) is None


@pytest.mark.parametrize("is_serializable", [True, False])
def test_one_at_a_time(shelf: Shelf, is_serializable: bool) -> None:
    inside = 0

    async def fly(run: str) -> int:
        nonlocal inside
        async with shelf.results.flight(samples.run(run), action(cache_serializable=is_serializable)):
            inside += 1
            seen = inside
            await asyncio.sleep(0)
            inside -= 1
            return seen

    async def main() -> list[int]:
        return list(await asyncio.gather(*(fly(f"r{number}") for number in range(3))))

    assert asyncio.run(main()) == ([1, 1, 1] if is_serializable else [1, 2, 3])
    assert shelf.results._flights == {}
