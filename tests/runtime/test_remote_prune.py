"""Pruning a store of the user's own, which is the store of a second control plane."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from flytebuild.cli.main import cli
from flytebuild.errors import ControlPlaneError
from flytebuild.runtime.actions import Ledger
from flytebuild.runtime.journal import FILE_NAME, Database, Result
from flytebuild.runtime.model import ActionKey, Phase
from flytebuild.runtime.own_storage import Key, OwnStorage
from flytebuild.runtime.prune import Rules, prune
from flytebuild.runtime.remote_prune import Emptied, content_of
from flytebuild.runtime.remote_store import RemoteStore
from flytebuild.runtime.storage import Entry, ObjectNameError, ObjectStore
from tests.runtime import samples
from tests.runtime.conftest import CREDENTIALS, ScriptedExecutor, served
from tests.schemas import validated

BASE = "s3://bucket/a/b"
FOLDERS = {name: f"{name}-0000000{name[-1]}" for name in ("r0", "r1", "r2")}
OUTPUTS = f"runs/{FOLDERS['r2']}/a0/1/outputs.pb"
DIGEST = "0" * 32


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with served(tmp_path / "other", ScriptedExecutor()) as server:
        yield f"{server}/s3"


@pytest.fixture
def there(tmp_path: Path, address: str) -> Path:
    """The folder of what the store has below the prefix: outputs of runs, inputs and uploads, and others' things."""
    del address
    place = tmp_path / "other/objects/bucket/a/b"
    for folder in FOLDERS.values():
        put(place / f"runs/{folder}/a0/1/outputs.pb")
        put(place / f"runs/{folder}/a0/1/model.bin")
    put(place / OUTPUTS, b"\x0a s3://bucket/a/b/uploads/folders/of-output/x\x12")
    put(place / "inputs/used/inputs.pb", b"\x0a s3://bucket/a/b/uploads/of-input/x.bin\x12")
    put(place / "inputs/unused/inputs.pb", b"\x0a s3://bucket/a/b/uploads/of-unused/x.bin\x12")
    for name in ("of-input", "of-unused", "folders/of-output", DIGEST, "young"):
        put(place / f"uploads/{name}/code.tgz")
    for name in ("runs/README", "runs/notes/x", "uploads/README", "inputs.csv", "models/x", "../uploads/neighbour/x"):
        put(place / name)
    os.utime(place / "uploads/young/code.tgz")
    return place


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A data folder that knows three runs; two have ended, and the one in progress names an input."""
    folder = tmp_path / "home"
    folder.mkdir()
    database = Database(folder / FILE_NAME)
    ledger = Ledger(database)
    for name, own in FOLDERS.items():
        action = replace(samples.action(run_name=name), input_uri=f"{BASE}/inputs/used/inputs.pb")
        ledger.create_run(replace(samples.run(name), base=f"{BASE}/runs/{own}"), action)
        if name != "r2":
            ledger.finish(ActionKey(name, "a0"), Phase.SUCCEEDED)
    database.close()
    return folder


def put(path: Path, content: bytes = b"x" * 10) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (0, 0))


def store(address: str, secret: str = CREDENTIALS.key_secret) -> RemoteStore:
    return RemoteStore(OwnStorage(BASE, address), lambda: Key(CREDENTIALS.key_id, secret))


def hold(stuck: Path, patch: pytest.MonkeyPatch) -> None:
    """Have the store remove everything but one object."""
    real = ObjectStore.remove

    def remove(self: ObjectStore, path: Path) -> None:
        if path == stuck:
            raise ObjectNameError("it is held")
        real(self, path)

    patch.setattr(ObjectStore, "remove", remove)


def files(place: Path) -> set[str]:
    return {
        path.relative_to(place.parent.parent).as_posix() for path in place.parent.parent.rglob("*") if path.is_file()
    }


def known(home: Path) -> list[str]:
    database = Database(home / FILE_NAME)
    names = [run.name for run, _, _ in database.runs()]
    database.close()
    return names


OF_RUNS = {f"a/b/runs/{FOLDERS[name]}/a0/1/{file}" for name in ("r0", "r1") for file in ("outputs.pb", "model.bin")}
UNUSED = {"a/b/inputs/unused/inputs.pb", "a/b/uploads/of-unused/code.tgz", f"a/b/uploads/{DIGEST}/code.tgz"}


def test_what_nothing_needs_goes_and_nothing_else(home: Path, there: Path, address: str) -> None:
    before = files(there)
    size = sum((there.parent.parent / name).stat().st_size for name in OF_RUNS | UNUSED)
    told = prune(home, Rules(keep=0), store(address), is_rehearsal=True)
    assert told.store == Emptied(BASE, 7, size)
    assert (files(there), known(home)) == (before, ["r0", "r1", "r2"])
    assert prune(home, Rules(keep=0), store(address)) == told
    assert before - files(there) == OF_RUNS | UNUSED
    assert known(home) == ["r2"]


def test_outputs_of_cached_results_stay(home: Path, there: Path, address: str) -> None:
    database = Database(home / FILE_NAME)
    database.keep_result("p/d", "k", Result(f"{BASE}/runs/{FOLDERS['r0']}/a0/1", FOLDERS["r0"], "r0", "a0", 0.0))
    database.close()
    before = files(there)
    assert prune(home, Rules(keep=0), store(address)).kept_for_cache == ("r0",)
    assert {name for name in before - files(there) if "/runs/" in name} == {name for name in OF_RUNS if "r1-" in name}
    # Its run is gone and known all the same, by its result.
    assert prune(home, Rules(keep=0), store(address)).store == Emptied(BASE)
    prune(home, Rules(keep=0, with_cache=True), store(address))
    assert before - files(there) == OF_RUNS | UNUSED


def test_uploads_stay_for_runs_of_another_data_folder(home: Path, there: Path, address: str) -> None:
    put(there / "runs/elsewhere-0123abcd/a0/1/report.html")
    before = files(there)
    emptied = prune(home, Rules(keep=0), store(address)).store
    assert emptied is not None
    assert (emptied.objects, emptied.strangers) == (4, 1)
    assert before - files(there) == OF_RUNS


def test_one_that_cannot_be_removed_is_told_and_found_again(
    home: Path, there: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(there)
    with monkeypatch.context() as patch:
        hold(there / f"runs/{FOLDERS['r0']}/a0/1/model.bin", patch)
        done = prune(home, Rules(keep=0), store(address))
    held = f"a/b/runs/{FOLDERS['r0']}/a0/1/model.bin"
    assert done.store is not None
    assert list(done.store.refused) == [held]
    assert "held" in done.store.refused[held]
    assert (done.runs, done.store.objects, known(home)) == (("r1",), 3, ["r0", "r2"])
    assert before - files(there) == OF_RUNS - {held}, "and no upload, which what is left may name"
    assert prune(home, Rules(keep=0), store(address)).runs == ("r0",)
    assert before - files(there) == OF_RUNS | UNUSED


def test_nothing_goes_where_the_store_does_not_tell(home: Path, there: Path, address: str) -> None:
    before = files(there)
    with pytest.raises(ControlPlaneError, match="Nothing was removed") as refused:
        prune(home, Rules(keep=0), store(address, "guess"))
    assert "guess" not in str(refused.value)
    assert (files(there), known(home)) == (before, ["r0", "r1", "r2"])


def test_by_the_command(home: Path, there: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    settings = {"HOME": str(home), "STORAGE": BASE, "STORAGE_ENDPOINT": address}
    for name, value in settings.items():
        monkeypatch.setenv(f"FLYTEBUILD_{name}", value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", CREDENTIALS.key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CREDENTIALS.key_secret)

    def said(*arguments: str) -> tuple[int, str, str]:
        words = ["runs", "prune", "--keep", "0", *arguments]
        result = CliRunner().invoke(cli, words, catch_exceptions=False, standalone_mode=False)
        return result.return_value, result.stdout, " ".join(result.stderr.split())

    code, told, _ = said("--dry-run")
    assert (code, told.splitlines()[1]) == (0, f"Would remove 7 objects from `{BASE}`, 0.0 MB")
    with monkeypatch.context() as patch:
        hold(there / f"uploads/{DIGEST}/code.tgz", patch)
        code, told, noted = said("--json")
    document, held = validated(told)["store"], f"a/b/uploads/{DIGEST}/code.tgz"
    assert (code, document["base"], document["objects"], document["unknown_runs"]) == (1, BASE, 6, 0)
    assert [item["key"] for item in document["refused"]] == [held]
    assert f"note: `{held}` was not removed: " in noted
    code, told, _ = said()
    assert (code, told.splitlines()[1]) == (0, f"Removed 1 object from `{BASE}`, 0.0 MB")
    assert not files(there) & (OF_RUNS | UNUSED)


def test_which_names_are_ours() -> None:
    ours = ("runs/r-01234567/a0/1/x", "inputs/ab/inputs.pb", "uploads/ab/x", "uploads/folders/ab/deep/x")
    others = ("runs/r/x", "runs/r-01234567", "uploads/x", "uploads/folders/x", "inputs/a b/x", "xuploads/ab/x", "x")
    for prefix in ("", "team/uploads/"):
        entries = [Entry(f"{prefix}{key}", 1, 0.0, "") for key in (*ours, *others)]
        found = content_of([*entries, Entry("elsewhere/uploads/ab/x", 1, 0.0, "")], prefix)
        assert {entry.key for entry in found.entries} == {f"{prefix}{key}" for key in ours}
        assert [*found.runs, *found.shared] == ["r-01234567", "inputs/ab", "uploads/ab", "uploads/folders/ab"]
