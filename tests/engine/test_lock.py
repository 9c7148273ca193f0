"""A lock on a real engine: the same packages as without one, refused where they are not, told where it has not all."""

from __future__ import annotations

import json
import re
from contextlib import closing
from pathlib import Path

import docker
import pytest

from tests.conftest import Machine
from tests.engine.building import gateway
from tests.engine.conftest import Workspace, in_image
from tests.engine.nowhere import Search
from tests.wheels.index import PASSWORD, served

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
    assert six["modules"] == ["six"]
    told = [[layer[key] for key in ("where", "python", "replaces", "obstacle")] for layer in document["layers"]]
    assert told == [[[], "3.11", [], None]] * 2
    text = file.read_text()
    locked = built(workspace, "--locked", main)
    assert locked != free
    assert in_image(locked, *FREEZE) == in_image(free, *FREEZE)

    # Checks know all that is installed by now, and which modules that has.
    lacking = MAIN.format(more="").replace("    return", "    import iniconfig, six, nobody_has_this\n    return")
    workspace.write({"lock/lacking.py": lacking})
    told = workspace.flytebuild("check", "lock/lacking.py", code=65).stdout
    assert "The image of `locked` lacks `nobody_has_this`" in told
    assert told.endswith("1 environment, 1 error\n"), told

    # A file that does not tell the modules gets them, whether anything moves or not.
    file.write_text(re.sub(r"modules = \[[^]]*\]\n", "", text))
    assert file.read_text() != text
    again = json.loads(workspace.flytebuild("lock", "--json", main).stdout)
    assert (again["written"], again["changes"], file.read_text()) == (True, [], text)

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


PRIVATE = """
import flyte

base = flyte.Image.from_base("docker.io/library/python:3.11-slim-bookworm")
base = base.clone(python_version=(3, 11), name="private", extendable=True)
token = flyte.Secret(key="token", as_env_var="TOKEN")
image = base.with_pip_packages("leaf", index_url="{index}", secret_mounts=[token]).with_pip_packages("other")
env = flyte.TaskEnvironment("private", image=image)
"""


def test_what_indexes_want_to_know_is_in_nothing_that_is_left_or_told(
    workspace: Workspace, machine: Machine, tmp_path: Path
) -> None:
    """A layer's index takes a secret of the layer's, the host's own index has a password in its URL."""
    with closing(docker.from_env()) as client, served(tmp_path / "index", gateway(client)) as index:
        index.add("leaf", "1.0")
        index.add("other", "1.0")
        workspace.write({"main.py": PRIVATE.format(index=index.private)})
        url = index.private.replace("${TOKEN}", PASSWORD)
        environ = {"TOKEN": PASSWORD, "UV_INDEX_URL": url, "FLYTEBUILD_TRACEBACK": "1"}
        told = [
            workspace.flytebuild("lock", "--json", "main.py", **environ),
            workspace.flytebuild("plan", "--json", "--locked", "-o", "plan.json", "main.py", **environ),
            workspace.flytebuild("build", "-v", "--json", "--locked", "main.py", **environ),
            workspace.flytebuild("lock", "--update", "leaf", "main.py", code=69, **{**environ, "TOKEN": PASSWORD[1:]}),
            workspace.flytebuild("explain", "private", **environ),
        ]
    (image,) = json.loads(told[1].stdout)["images"]
    assert [layer["obstacle"] for layer in image["layers"] if layer["kind"] == "pinned"] == [
        "its index wants a secret",
        f"`{index.address.partition(':')[0]}` wants credentials",
    ]
    # The lock says only what its indexes do; the first layer's own is asked for nothing without its secret.
    locked = {layer["asked"]: layer["obstacle"] for layer in json.loads(told[0].stdout)["layers"]}
    assert locked["pip: other"] == f"`{index.address.partition(':')[0]}` wants credentials"
    # The image is the same where none of this is known.
    assert workspace.plan("main.py")["images"][0]["digest"] == image["digest"]
    assert told[4].stdout.count("installed by a step") == 2
    (built,) = json.loads(told[2].stdout)["images"]
    assert built["result"] == "built"
    assert in_image(built["reference"], *FREEZE).split() == ["leaf==1.0", "other==1.0"]

    search = Search((PASSWORD, PASSWORD[1:]))
    for number, done in enumerate(told):
        search.look(f"output {number}", done.stdout)
        search.look(f"complaint {number}", done.stderr)
    search.look_below(tmp_path, tmp_path / "index")
    base = f"{machine.mirrors['docker.io']}/library/python:3.11-slim-bookworm"
    search.look_in_registry(workspace.registry, base)
    for ending in ("flytebuild.lock", "plan.json", "state.sqlite as SQL"):
        assert any(place.endswith(ending) for place in search.places), search.places
    assert any("@" not in place and "sha256:" in place for place in search.places), search.places
    assert not search.found
