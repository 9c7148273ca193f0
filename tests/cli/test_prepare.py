"""What comes before a run: it asks nobody for what was seen a moment ago, and builds nothing by what was."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import flyte
import pytest

from flytebuild import config, pipeline
from flytebuild.authoring.environments import Definitions
from flytebuild.build.labels import IMAGE
from flytebuild.cli import prepare
from flytebuild.errors import EngineUnavailableError, UsageError
from tests.loopback import Objects, publish, with_base


@dataclass
class Place:
    """A registry that notes what it is asked, and a package that the only image installs in some version."""

    folder: Path
    environ: dict[str, str]
    objects: Objects
    patch: pytest.MonkeyPatch
    version: str = "1.17.0"

    def definitions(self) -> Definitions:
        base = flyte.Image.from_base("base.test/x:1").clone(name="n", extendable=True)
        image = base.with_pip_packages(f"six=={self.version}")
        return Definitions.collect([flyte.TaskEnvironment("env", image=image)])

    def config(self, **environ: str) -> config.Config:
        return config.load(self.folder, {**self.environ, **environ})

    def prepare(self, **environ: str) -> None:
        """Do what comes before a run. The requests of others are forgotten."""
        self.objects.asked.clear()
        asyncio.run(prepare.prepare(self.config(**environ), self.definitions(), ["env"]))

    def publish(self) -> None:
        """Have the image there that is asked for, by what it starts from by now, as somebody else builds it."""
        with self.patch.context() as patch:
            patch.setenv("XDG_STATE_HOME", str(self.folder / "other"))
            planned = asyncio.run(pipeline.plan_definitions(self.config(), self.definitions()))
        (image,) = planned.images
        name, _, tag = image.reference.partition("/")[2].rpartition(":")
        publish(self.objects, name, tag, "amd64", {IMAGE: image.digest or ""})

    def unpublish(self) -> None:
        """Have no image there, as after somebody's clean-up."""
        for path in [path for path in self.objects if path.startswith("/v2/mine/")]:
            del self.objects[path]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine.sock")
    with with_base() as (objects, environ):
        found = Place(tmp_path, environ, objects, monkeypatch)
        found.publish()
        yield found


ALONE = """
import asyncio, json, sys
from pathlib import Path
import flyte
from flytebuild import config
from flytebuild.authoring.environments import Definitions
from flytebuild.cli import prepare

base = flyte.Image.from_base("base.test/x:1").clone(name="n", extendable=True)
env = flyte.TaskEnvironment("env", image=base.with_pip_packages("six==1.17.0"))
before = set(sys.modules)
asyncio.run(prepare.prepare(config.load(Path.cwd()), Definitions.collect([env]), ["env"]))
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_what_was_seen_a_moment_ago_is_asked_of_nobody(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare()
    assert place.objects.asked
    assert capsys.readouterr().err == "1 image, nothing to build\n"

    place.prepare()
    assert place.objects.asked == []
    assert re.fullmatch(r"1 image, nothing to build \(as of .*\d s ago\)\n", capsys.readouterr().err)
    place.prepare(FLYTEBUILD_OFFLINE="1", FLYTEBUILD_FRESH_FOR_RUNS="0")
    assert place.objects.asked == []

    environ = {**os.environ, **place.environ}
    done = subprocess.run([sys.executable, "-c", ALONE], env=environ, capture_output=True, text=True, check=True)
    assert (place.objects.asked, "nothing to build (as of" in done.stderr) == ([], True)
    imported = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not imported & {"docker", "requests", "grpc", "httpx", "httpcore", "h2", "ssl", "zstandard"}

    place.prepare(FLYTEBUILD_FRESH_FOR_RUNS="0")
    assert place.objects.asked


def test_what_is_missing_is_decided_by_what_is_there_now(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare()
    publish(place.objects, "x", "1", "amd64", {"moved": "yes"})
    place.prepare()
    assert "nothing to build (as of" in capsys.readouterr().err.splitlines()[1], "a base is remembered as well"
    place.version = "1.16.0"
    place.publish()
    place.prepare()
    assert capsys.readouterr().err == "1 image, nothing to build\n", "with the base as it is by now"


def test_an_image_that_was_deleted_is_found_out(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare()
    place.unpublish()
    place.prepare()
    assert "nothing to build (as of" in capsys.readouterr().err, "the run itself fails, and has it asked again"
    for environ in ({"FLYTEBUILD_FRESH_FOR_RUNS": "0"}, {}):
        with pytest.raises(EngineUnavailableError):
            place.prepare(**environ)
        assert capsys.readouterr().err == "1 image, 1 to build\n"


def test_offline_what_was_never_seen_cannot_be_run(place: Place) -> None:
    place.prepare()
    place.version = "1.16.0"
    with pytest.raises(UsageError, match="This needs a network, and `offline` is set"):
        place.prepare(FLYTEBUILD_OFFLINE="1")
    assert place.objects.asked == []
