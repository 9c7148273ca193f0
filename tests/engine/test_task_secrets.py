"""A task's secrets: with it and nobody else, and in nothing that stays."""

from __future__ import annotations

import json
import secrets
from contextlib import closing
from pathlib import Path

import docker
import pytest

from tests.engine.conftest import Workspace

pytestmark = pytest.mark.engine

TASKS = """
import os
from pathlib import Path

import flyte

image = flyte.Image.from_debian_base(python_version=(3, 11), name="secretive")
folder = Path("/etc/flyte/secrets")
token = flyte.Secret(key="my-token", as_env_var="TOKEN")
key = flyte.Secret(key="my-key", group="g", mount=folder)
asks = flyte.TaskEnvironment(name="asks", image=image, secrets=[token, key])
sibling = flyte.TaskEnvironment(name="sibling", image=image)
main = flyte.TaskEnvironment(name="main", image=image, depends_on=[asks, sibling])


@asks.task
async def has_it() -> str:
    file = folder / "g" / "my-key"
    (mount,) = [line.split()[2] for line in Path("/proc/mounts").read_text().splitlines() if str(folder) in line]
    return f"{len(os.environ['TOKEN'])} {len(file.read_bytes())} {oct(file.stat().st_mode)} {mount}"


@sibling.task
async def has_not() -> bool:
    return folder.exists() or any("TOKEN" in name for name in os.environ)


@main.task
async def both() -> list[str]:
    return [await has_it(), str(await has_not()), str("TOKEN" in os.environ)]
"""


def test_only_the_task_that_asks_for_it_has_it(workspace: Workspace) -> None:
    value = secrets.token_hex(16)
    workspace.write({"secretive.py": TASKS})
    done = workspace.flytebuild("run", "secretive.py", "both", MY_TOKEN=value, G_MY_KEY=f"{value}\n\n é")
    assert json.loads(done.stdout) == ["32 37 0o100600 tmpfs", "False", "False"]
    home = Path(workspace.environ["FLYTEBUILD_HOME"])
    files = [path for path in home.rglob("*") if path.is_file()]
    assert any(path.name.startswith("runs.sqlite") for path in files)
    assert [path for path in files if value.encode() in path.read_bytes()] == []
    assert value not in done.stderr
    # What would tell it is gone with the containers.
    with closing(docker.from_env()) as client:
        left = client.containers.list(all=True, filters={"label": "dev.flytebuild.run"}, ignore_removed=True)
    assert [item.name for item in left if value in str(item.attrs)] == []


def test_one_that_is_missing_fails_the_task_before_it_starts(workspace: Workspace) -> None:
    workspace.write({"secretive.py": TASKS.replace("my-token", "no-such-token")})
    failed = workspace.flytebuild("run", "secretive.py", "both", code=1)
    assert (
        "note: `asks.has_it` asks for the secret `no-such-token`, and there is none; a run that calls" in failed.stderr
    )
    assert "Task `asks.has_it` asks for the secret `no-such-token`, and there is none" in failed.stderr
    assert "set the variable `NO_SUCH_TOKEN`" in failed.stderr
