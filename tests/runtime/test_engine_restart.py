"""An engine that is killed with all its containers, and comes back, while runs are under way."""

from __future__ import annotations

import pytest

from flytebuild.config import Config
from flytebuild.runtime import client
from scripts.machine.state import State
from tests.conftest import SECOND, Machine, bring_up_second
from tests.engine.hosts import kill_engine
from tests.runtime.driver import Driver, free_port

pytestmark = pytest.mark.engine


def test_a_run_outlives_its_engine(
    second_machine: Machine, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", second_machine.docker_host)
    config = Config(port=free_port(), home=tmp_path_factory.mktemp("home"), mirrors=second_machine.mirrors)
    driver = Driver(config, client.ensure(config))
    try:
        waiting, name = driver.begin("outlast")
        driver.until_running(name, "flows.outlast")
        kill_engine(State(SECOND))
        bring_up_second()
        assert driver.end(waiting) == {"phase": "succeeded", "outputs": ["attempt 1"]}
        (action,) = driver.document(name)["actions"]
        first, second = action["attempts"]
        assert (first["phase"], second["phase"]) == ("FAILED", "SUCCEEDED")
        assert first["error"]["code"] == "ContainerLost"
        assert "The engine was gone for a while" in first["error"]["message"]
        assert first["container"] != second["container"]
    finally:
        client.stop(config)
