from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from flyteidl2.task.task_definition_pb2 import TaskDetails

from flytebuild.cli.main import cli
from flytebuild.errors import UsageError
from flytebuild.runtime.actions import Ledger
from flytebuild.runtime.catalogue import Catalogue
from flytebuild.runtime.journal import FILE_NAME, Database, Ended, Result
from flytebuild.runtime.model import ActionKey, Phase, now
from flytebuild.runtime.prune import Pruned, Rules, choose, prune
from tests import plain
from tests.runtime import samples
from tests.runtime.conftest import ScriptedExecutor, served
from tests.schemas import validated


def put(home: Path, name: str) -> Path:
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * 100)
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Three runs that ended 2, 1 and 0 days ago, a result of the first, and one in progress."""
    database = Database(tmp_path / FILE_NAME)
    for number, name in enumerate(["r0", "r1", "r2", "r3"]):
        ledger = Ledger(database, clock=lambda number=number: now() - timedelta(days=2 - number))
        run = replace(samples.run(name), base=f"s3://flytebuild/runs/{name}-x")
        ledger.create_run(run, samples.action(run_name=name))
        if name != "r3":
            ledger.finish(ActionKey(name, "a0"), Phase.SUCCEEDED)
        put(tmp_path, f"logs/{name}/a0/1.log")
        put(tmp_path, f"objects/flytebuild/runs/{name}-x/a0/1/outputs.pb")
    database.keep_result("p/d", "k", Result("s3://flytebuild/runs/r0-x/a0/1", "r0-x", "r0", "a0", time.time() - 10**6))
    database.close()
    return tmp_path


def left(home: Path) -> tuple[list[str], list[str]]:
    """Which runs are remembered, and the folders of which are there."""
    database = Database(home / FILE_NAME)
    names = [run.name for run, _, _ in database.runs()]
    database.close()
    return names, sorted(path.name for path in (home / "objects/flytebuild/runs").iterdir())


def test_which_go() -> None:
    ended = [Ended(f"r{number}", "", float(number)) for number in range(4)]
    assert [run.name for run in choose(ended, None, 1)] == ["r0", "r1", "r2"]
    assert [run.name for run in choose(ended, 2.0, None)] == ["r0", "r1"]
    assert [run.name for run in choose(ended, 2.0, 3)] == ["r0"]
    assert choose(ended, None, 9) == []


def test_what_the_cache_needs_stays_and_what_runs_too(home: Path) -> None:
    assert prune(home, Rules(keep=0)) == Pruned(("r0", "r1", "r2"), 500, ("r0",))
    assert left(home) == (["r3"], ["r0-x", "r3-x"])
    assert [path.name for path in (home / "logs").iterdir()] == ["r3"]
    # Its run is gone; its result goes when results do.
    assert prune(home, Rules(keep=0, with_cache=True)) == Pruned((), 100)
    assert left(home) == (["r3"], ["r3-x"])
    assert not (home / ".expired").exists()


def test_by_the_command(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTEBUILD_HOME", str(home))
    monkeypatch.chdir(home)

    def said(*arguments: str) -> str:
        return CliRunner().invoke(cli, ["runs", "prune", *arguments], catch_exceptions=False).output

    before = left(home)
    assert "Would remove 2 runs" in said("--older-than", "12h", "--cache", "--dry-run")
    assert left(home) == before
    document = validated(said("--older-than", "12h", "--json"))
    assert (document["schema"], document["runs"], document["kept_for_cache"]) == (
        "flytebuild.prune/1",
        ["r0", "r1"],
        ["r0"],
    )
    assert "is no age" in said("--older-than", "soon")
    with pytest.raises(UsageError):
        said()


def deploy(home: Path, version: str, bundle: str) -> None:
    """A version of task `env.work` whose code is an upload."""
    spec = samples.task_spec()
    spec.task_template.container.args.extend(["--tgz", f"s3://flytebuild/uploads/{bundle}/code.tgz"])
    details = TaskDetails(spec=spec)
    details.task_id.name, details.task_id.version = "env.work", version
    details.metadata.deployed_at.GetCurrentTime()
    Catalogue(home / "tasks").add(details)


def age(*paths: Path) -> None:
    """Let files and their folders be as old as no SDK remembers."""
    for path in paths:
        os.utime(path, (0, 0))
        os.utime(path.parent, (0, 0))


def test_uploads_stay_for_as_long_as_something_names_them(home: Path) -> None:
    for version in ("v1", "v2", "v3"):
        deploy(home, version, f"of-{version}")
    spec = samples.task_spec()
    spec.task_template.id.name, spec.task_template.id.version = "env.work", "v1"
    spec.task_template.container.args.append("s3://flytebuild/uploads/of-run/code.tgz")
    database = Database(home / FILE_NAME)
    action = replace(samples.action(spec=spec, run_name="r9"), input_uri="s3://flytebuild/inputs/used/inputs.pb")
    Ledger(database).create_run(samples.run("r9"), action)
    database.close()
    names = ("of-v1", "of-v2", "of-v3", "of-run", "of-input", "of-old-input", "folders/of-output", "nobody-s", "young")
    uploads = {name: put(home, f"objects/flytebuild/uploads/{name}/code.tgz") for name in names}
    inputs = {name: put(home, f"objects/flytebuild/inputs/{name}/inputs.pb") for name in ("used", "unused")}
    inputs["used"].write_bytes(b"\x0a s3://flytebuild/uploads/of-input/x.bin\x12")
    inputs["unused"].write_bytes(b"\x0a s3://flytebuild/uploads/of-old-input/x.bin\x12")
    output = put(home, "objects/flytebuild/runs/r9-x/a0/1/outputs.pb")
    output.write_bytes(b"s3://flytebuild/uploads/folders/of-output/x")
    age(*inputs.values(), *(path for name, path in uploads.items() if name != "young"))

    def there() -> set[str]:
        return {name for name, path in (*uploads.items(), *inputs.items()) if path.exists()}

    before = there()
    told = prune(home, Rules(versions=1, with_runs=False), is_rehearsal=True)
    assert there() == before
    assert prune(home, Rules(versions=1, with_runs=False)) == told
    assert (told.runs, told.tasks, told.uploads) == ((), ("env.work@v2",), 4), "a kept run has used v1"
    assert before - there() == {"of-v2", "nobody-s", "of-old-input", "unused"}
    assert {task.task_id.version for task in Catalogue(home / "tasks")} == {"v1", "v3"}


def test_a_control_plane_forgets_versions_that_are_gone(tmp_path: Path) -> None:
    deploy(tmp_path, "v1", "x")
    known = Catalogue(tmp_path / "tasks")
    next((tmp_path / "tasks").iterdir()).unlink()
    known.refresh()
    assert list(known) == []


def test_a_folder_without_runs(tmp_path: Path) -> None:
    assert prune(tmp_path, Rules(keep=0)) == Pruned()
    assert list(tmp_path.iterdir()) == []


def test_a_control_plane_that_runs_notices(home: Path, executor: ScriptedExecutor) -> None:
    with served(home, executor) as server:
        assert len(plain.get(f"{server}/api/runs").json()["runs"]) == 4
        prune(home, Rules(keep=0))
        deadline = time.monotonic() + 30
        while len(runs_left := plain.get(f"{server}/api/runs").json()["runs"]) == 4:
            assert time.monotonic() < deadline
        assert [row["run"] for row in runs_left] == ["r3"]
        assert plain.get(f"{server}/api/runs/r0").status_code == 404
