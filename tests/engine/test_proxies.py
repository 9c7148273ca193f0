"""The host's proxies in build steps: there, and part of nothing that is kept."""

from __future__ import annotations

import pytest

from tests.engine.conftest import Workspace, in_image

pytestmark = pytest.mark.engine

SOURCE = """
import flyte

image = flyte.Image.from_debian_base(python_version=(3, 11), name="proxied").with_commands(
    ["echo $HTTP_PROXY $http_proxy $https_proxy. > /srv/seen", "env > /srv/all # {mark}"]
)
env = flyte.TaskEnvironment(name="env", image=image.with_env_vars({{"MARK": "{number}"}}))
"""

DOCKERFILE = """
import flyte
from pathlib import Path

env = flyte.TaskEnvironment(name="env", image=flyte.Image.from_dockerfile(
    Path("Dockerfile"), registry="{registry}", name="proxied"))
"""


def test_steps_have_the_hosts_proxies_and_images_do_not(workspace: Workspace) -> None:
    mark = workspace.registry.rpartition("/")[2]
    workspace.write({"main.py": SOURCE.format(mark=mark, number=1)})
    workspace.flytebuild("build", "main.py", HTTP_PROXY="http://one.invalid:1", HTTPS_PROXY="http://127.0.0.1:1")
    (image,) = workspace.plan("main.py")["images"]
    assert in_image(image["reference"], "cat", "/srv/seen") == "http://one.invalid:1 http://one.invalid:1 .\n"
    assert "invalid" not in in_image(image["reference"], "env")
    # Another proxy, or none, finds the same image, and the same steps below another one.
    assert workspace.plan("main.py")["to_build"] == []
    workspace.write({"main.py": SOURCE.format(mark=mark, number=2)})
    built = workspace.flytebuild("build", "main.py", HTTP_PROXY="http://two.invalid:1")
    assert f"run: env > /srv/all # {mark}: cached" in built.stderr


def test_a_dockerfiles_steps_have_them_too(workspace: Workspace) -> None:
    workspace.write(
        {
            "Dockerfile": "FROM ghcr.io/flyteorg/flyte:py3.11-v2.12.1\nRUN echo $HTTP_PROXY > /home/flyte/seen\n",
            "main.py": DOCKERFILE.format(registry=workspace.registry),
        }
    )
    workspace.flytebuild("build", "main.py", HTTP_PROXY="http://one.invalid:1")
    (image,) = workspace.plan("main.py")["images"]
    assert in_image(image["reference"], "cat", "/home/flyte/seen") == "http://one.invalid:1\n"
