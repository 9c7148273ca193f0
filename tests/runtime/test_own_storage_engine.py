"""A run whose objects lie in a store of the user's own: the store of a second control plane, over its port."""

from __future__ import annotations

from pathlib import Path

import pytest

from flytebuild.runtime import client
from flytebuild.runtime.credentials import load_or_create
from flytebuild.runtime.process import End
from flytebuild.runtime.prune import Rules, prune
from flytebuild.runtime.remote_prune import Emptied
from flytebuild.runtime.remote_store import open_store
from tests import plain
from tests.conftest import Machine
from tests.runtime.driver import Driver, configured

pytestmark = pytest.mark.engine


def test_objects_lie_where_the_configuration_says(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = configured(machine, tmp_path / "other")
    store = client.ensure(other)
    key = load_or_create(store.home)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key.key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key.key_secret)
    place = {"storage": "s3://bucket/team", "storage_endpoint": f"{store.endpoint}/s3"}
    config = configured(machine, tmp_path / "home", **place)
    try:
        driver = Driver(config, client.ensure(config))
        said, document = driver.run("pass_file", {"text": "far away"})
        assert (said, document["outputs"]) == ({"phase": "succeeded", "outputs": ["far away"]}, {"o0": "far away"})
        command = Path(f"/proc/{driver.plane.pid}/cmdline").read_text()
        shown = plain.get(document["url"]).text + str(document) + command
        assert key.key_secret not in shown
        # What the SDK and the control plane have made there has names that pruning knows.
        told = prune(config.home, Rules(keep=0), open_store(config), is_rehearsal=True)
        of_run = [path for path in (store.home / "objects/bucket/team/runs").rglob("*") if path.is_file()]
        assert told.store == Emptied(config.storage, len(of_run), sum(path.stat().st_size for path in of_run))
    finally:
        assert client.stop(config) is End.STOPPED
        assert client.stop(other) is End.STOPPED
    there = {path.relative_to(store.home / "objects").parts[:3] for path in (store.home / "objects").rglob("*.pb")}
    assert there == {("bucket", "team", "runs"), ("bucket", "team", "inputs")}
    assert list((store.home / "objects/bucket/team/uploads").iterdir())
    assert not [path for path in (config.home / "objects").rglob("*") if path.is_file()]
    kept = [path for path in config.home.rglob("*") if path.is_file()]
    assert [path for path in kept if key.key_secret.encode() in path.read_bytes()] == []
