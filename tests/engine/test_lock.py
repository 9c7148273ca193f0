"""A lock on a real engine: the same packages as without one, refused where they are not, told where it has not all."""

from __future__ import annotations

import json

import pytest

from tests.engine.conftest import Workspace, in_image

pytestmark = pytest.mark.engine

MAIN = """
import flyte

image = flyte.Image.from_debian_base(name="locked", python_version=(3, 11))
image = image.with_pip_packages("iniconfig<2.1", "packaging").with_pip_packages("six"){more}
env = flyte.TaskEnvironment("locked", image=image)


@env.task
def work() -> int:
    return 1
"""
SIX = "six-1.16.0-py2.py3-none-any.whl"
HASH = "8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254"
FREEZE = ("uv", "pip", "freeze", "--quiet", "--python", "/opt/venv/bin/python")


def built(workspace: Workspace, *arguments: str) -> str:
    """The image's reference, once it is built."""
    (image,) = json.loads(workspace.flytebuild("build", "--json", *arguments).stdout)["images"]
    return str(image["reference"])


def test_a_lock_from_its_first_day_on(workspace: Workspace) -> None:
    workspace.write({"lock/main.py": MAIN.format(more=""), "flytebuild.toml": ""})
    main, file = "lock/main.py", workspace.folder / "flytebuild.lock"
    free = built(workspace, main)

    document = json.loads(workspace.flytebuild("lock", "--json", main).stdout)
    assert (document["written"], document["file"], document["unlocked"]) == (True, str(file), [])
    wheels = {layer["asked"]: layer["wheels"] for layer in document["layers"]}
    assert [wheel["name"] for wheel in wheels["pip: iniconfig<2.1, packaging"]] == ["iniconfig"], "flyte has the other"
    (six,) = wheels["pip: six"]
    text = file.read_text()
    locked = built(workspace, "--locked", main)
    assert locked != free
    assert in_image(locked, *FREEZE) == in_image(free, *FREEZE)

    # A version of another day, which is taken whatever there is by now.
    older = text.replace(six["filename"], SIX).replace(six["sha256"], HASH)
    file.write_text(older.replace(f'version = "{six["version"]}"', 'version = "1.16.0"'))
    (planned,) = workspace.plan(main)["images"]
    assert [change["words"] for change in planned["changes"]] == [f"pip: six {six['version']} → 1.16.0"]
    assert planned["changes"][0]["origin"].endswith("main.py:5")
    told = workspace.flytebuild("plan", "--fresh-lock", main).stderr
    assert f"note: a fresh lock would change six 1.16.0 → {six['version']}\n" in told

    # Something on top that the lock does not have.
    workspace.write({"lock/main.py": MAIN.format(more='.with_pip_packages("pluggy==1.5.0")')})
    told = workspace.flytebuild("plan", main).stderr
    assert "note: not in `flytebuild.lock`, and taken as it comes: `pip: pluggy==1.5.0` (lock/main.py:5)" in told
    assert workspace.flytebuild("lock", main).stdout.startswith(
        "  pluggy 1.5.0 is new\nLocked in `flytebuild.lock`: 3 wheels"
    )
    assert SIX in file.read_text(), "what was locked stays"
    workspace.flytebuild("lock", "--check", main)
    moved = workspace.flytebuild("lock", "--update", "six", main).stdout
    assert moved.startswith(f"  six 1.16.0 → {six['version']}\nLocked in")

    # A wheel that is not the one that was locked.
    file.write_text(file.read_text().replace(six["sha256"], "f" * 64))
    failed = workspace.flytebuild("build", main, code=1).stderr
    assert "digest mismatch" in failed
    assert f"sha256:{'f' * 64}" in failed
    assert "another file than the one that was locked" in failed
