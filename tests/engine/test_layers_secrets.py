"""Secrets: they reach the step that asks for them, and nothing else."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import flyte
import pytest

from tests.engine import packages
from tests.engine.building import Builds, Built
from tests.engine.conftest import Workspace

pytestmark = pytest.mark.engine

VALUE = secrets.token_hex(16)
PROVE = 'test "$(printf %s "{}" | wc -c)" = 32'
AS_FILE = flyte.Secret(key="file", group="mine", mount=Path("/etc/flyte/secrets"), as_env_var="AS_WELL")


@pytest.fixture(scope="module")
def images(builds: Builds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Built]]:
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "requirements.txt").write_text("six\n")
    project = packages.source(folder / "project", "secret_project")
    base = builds.base
    prove = "; " + PROVE.format("$KEY") + " && true"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("KEY", "MINE_KEY", "MINE_FILE"):
            patch.setenv(name, VALUE)
        yield builds.build(
            {
                "commands": base.with_commands(
                    [
                        PROVE.format("$KEY") + " && echo ok >/variable",
                        PROVE.format("$RENAMED") + " && echo ok >/renamed",
                        PROVE.format("$MINE_KEY") + " && echo ok >/grouped",
                        PROVE.format("$(cat /etc/flyte/secrets)") + " && stat -c %a /etc/flyte/secrets >/file",
                        PROVE.format("$AS_WELL") + " && echo ok >/as-well",
                    ],
                    secret_mounts=[
                        "KEY",
                        flyte.Secret(key="KEY", as_env_var="RENAMED"),
                        flyte.Secret(key="key", group="mine"),
                        AS_FILE,
                    ],
                ).with_commands(["env >/after; ls -A /etc/flyte >>/after 2>/dev/null || true", '! test "$KEY"']),
                "apt": base.with_apt_packages("hello", secret_mounts=["KEY", AS_FILE]),
                "pip": base.with_pip_packages("six", extra_args=f"--quiet{prove}", secret_mounts=["KEY", AS_FILE]),
                "requirements": base.with_requirements(folder / "requirements.txt").with_pip_packages(
                    "six", secret_mounts="KEY"
                ),
                "uv": base.with_uv_project(
                    project / "pyproject.toml",
                    project_install_mode="install_project",
                    extra_args=f"--quiet{prove}",
                    secret_mounts=["KEY", AS_FILE],
                ),
            }
        )


def test_a_step_is_given_its_secrets_as_variables_and_files(images: dict[str, Built]) -> None:
    image = images["commands"]
    assert image.sh("cat /variable /renamed /grouped /file /as-well") == ["ok", "ok", "ok", "400", "ok"]


def test_later_steps_and_containers_do_not_get_them(images: dict[str, Built]) -> None:
    seen = images["commands"].added["/after"].content.decode()
    assert "KEY=" not in seen
    assert "RENAMED=" not in seen
    assert images["commands"].sh("env | grep -c -e KEY -e RENAMED || true; test -e /etc/flyte || echo gone") == [
        "0",
        "gone",
    ]


@pytest.mark.parametrize("name", ["commands", "apt", "pip", "requirements", "uv"])
def test_no_value_is_in_the_image(images: dict[str, Built], name: str) -> None:
    image = images[name]
    everything = [*image.documents, *image.layers]
    assert any(b"dev.flytebuild.spec" in content for content in everything)
    assert not any(VALUE.encode() in content for content in everything)
    assert not {path for path in image.added if path.startswith(("/run/", "/etc/flyte"))}


def test_no_value_is_in_what_is_told_of_a_build(builds: Builds, images: dict[str, Built]) -> None:
    assert images
    assert VALUE not in repr(builds.events)


def test_a_value_that_changes_builds_nothing_anew(builds: Builds, monkeypatch: pytest.MonkeyPatch) -> None:
    image = builds.base.with_commands(["true"], secret_mounts=["ROTATING"])
    digests = []
    for value in ("one", "two"):
        monkeypatch.setenv("ROTATING", value)
        digests.append(builds.plan({"rotating": image}).images[0].digest)
    assert digests[0] == digests[1]


def test_a_secret_that_is_missing_is_told_before_anything_is_built(workspace: Workspace) -> None:
    workspace.write(
        {
            "main.py": "import flyte\n"
            "base = flyte.Image.from_debian_base(python_version=(3, 11), name='missing')\n"
            "fine = flyte.TaskEnvironment('fine', image=base.with_commands(['echo fine']))\n"
            "needy = flyte.TaskEnvironment('needy', image=base.with_commands(['true']).with_apt_packages(\n"
            "    'hello', secret_mounts=[flyte.Secret(key='token', group='no-such')]))\n"
        }
    )
    failed = workspace.flytebuild("build", "main.py", code=65)
    assert "error: `apt: hello` (main.py:4) needs the secret `no-such_token`, and there is none" in failed.stderr
    assert "hint: set the variable `NO_SUCH_TOKEN`, put it into `/etc/secrets/no-such_token`, or say" in failed.stderr
    assert set(workspace.statuses("main.py").values()) == {"missing"}
