"""Secrets: they reach the step that asks for them, and nothing else."""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import flyte
import pytest

from flytebuild.build.labels import labels
from flytebuild.llb.lower import lower
from flytebuild.llb.marshal import marshal
from flytebuild.spec.digests import digests
from tests.conftest import Machine
from tests.engine import packages
from tests.engine.building import FLYTE_BASE, Builds, Built
from tests.engine.conftest import Workspace, in_image
from tests.engine.nowhere import Search

pytestmark = pytest.mark.engine

VALUE = secrets.token_hex(16)
PASSWORD = secrets.token_hex(16)
PROVE = 'test "$(printf %s "{}" | wc -c)" = 32'
AS_FILE = flyte.Secret(key="file", group="mine", mount=Path("/etc/flyte/secrets"), as_env_var="AS_WELL")


@pytest.fixture(scope="module")
def records() -> Iterator[list[logging.LogRecord]]:
    """All that is logged in this process, by whatever library."""
    found: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = found.append  # type: ignore[method-assign]
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield found
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture(scope="module")
def images(
    records: list[logging.LogRecord], builds: Builds, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Built]]:
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


def test_no_value_is_in_what_is_told_of_a_build(
    builds: Builds,
    images: dict[str, Built],
    records: list[logging.LogRecord],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("KEY", "MINE_FILE"):
        monkeypatch.setenv(name, VALUE)
    monkeypatch.setenv("UV_INDEX_URL", f"https://me:{PASSWORD}@index.example/simple")
    command = 'test "$KEY" = "$(cat /etc/flyte/secrets)"; echo "$KEY from $UV_INDEX_URL"; exit 3'
    planned = builds.plan({"failing": builds.base.with_commands([command], secret_mounts=["KEY", AS_FILE])})
    failure = builds.failure(planned)
    assert failure.step.startswith('run: test "$KEY"')
    assert failure.exit_code == 3

    assert failure.log == ("*** from https://me:***@index.example/simple",)

    search = Search((VALUE, PASSWORD))
    search.look("failure", repr(failure))
    for event in builds.events:
        search.look("event", repr(event))
    for record in records:
        search.look("log", f"{record.getMessage()} {record.args!r} {record.exc_info!r}")
    for spec in (image.spec for image in planned.images):
        assert spec
        search.look("operations", marshal(lower(spec, has_bundle=True)).SerializeToString())
        search.look("labels", repr(labels(spec, digests(spec))))
    assert {"event", "log", "operations"} <= set(search.places)
    assert not search.found


MAIN = """
import flyte
from pathlib import Path

base = flyte.Image.from_base("ghcr.io/flyteorg/flyte:py3.11-v2.12.1").clone(python_version=(3, 11), name="secretive")
mounts = ["VARIABLE", flyte.Secret(key="file", group="my", mount=Path("/etc/flyte/secrets")), "PRINTED"]
# Executed once more by every run: what is cached has the values of the run before.
seen = ': NONCE; printf %s "$VARIABLE$(cat /etc/flyte/secrets)$PRINTED" | sha256sum'
shown = 'echo "it is $VARIABLE"; echo >&2 "$PRINTED"; cat /etc/flyte/secrets; '
image = base.clone(extendable=True).with_commands([seen + " >/seen"], secret_mounts=mounts)
fine = flyte.TaskEnvironment("fine", image=image)
refused = image.with_commands([seen + " >/dev/null; " + shown + "exit 3"], secret_mounts=mounts)
failing = flyte.TaskEnvironment("failing", image=refused)
"""


def test_no_value_is_in_anything_that_commands_leave_or_tell(workspace: Workspace, machine: Machine) -> None:
    """From a variable, a file and a program; in a step that succeeds, and in one that shows them and fails."""
    values = {name: secrets.token_urlsafe(24) for name in ("VARIABLE", "my_file", "PRINTED")}
    given = workspace.folder.parent / "given"
    given.mkdir()
    (given / "value").write_text(values["my_file"])
    (given / "print").write_text(f"#!/bin/sh\necho {values['PRINTED']}\necho >&2 printed\n")
    (given / "print").chmod(0o755)
    workspace.write(
        {
            "main.py": MAIN.replace("NONCE", secrets.token_hex(4)),
            "pyproject.toml": '[tool.flytebuild.secrets]\nMY_FILE = "file:../given/value"\n'
            'PRINTED = "command:../given/print"\n',
        }
    )
    environ = {"HIDDEN": values["VARIABLE"], "FLYTEBUILD_TRACEBACK": "1", "FLYTE_LOG_LEVEL": "10"}
    option = ("--secret", "VARIABLE=env:HIDDEN")
    told = [
        workspace.flytebuild("plan", "-o", "plan.json", "main.py", **environ),
        workspace.flytebuild("build", "--dry-run", "--json", "main.py", **environ),
        workspace.flytebuild("build", "main.py", code=65, **environ),
        workspace.flytebuild("build", "-v", "--json", "--progress", "json", *option, "main.py", code=1, **environ),
    ]

    built = {name: image for image in json.loads(told[3].stdout)["images"] for name in image["environments"]}
    assert {name: image["result"] for name, image in built.items()} == {"fine": "built", "failing": "failed"}
    whole = hashlib.sha256("".join(values.values()).encode()).hexdigest()
    assert in_image(built["fine"]["reference"], "cat", "/seen").split()[0] == whole

    assert "it is ***" in told[3].stderr

    search = Search(tuple(values.values()))
    for number, done in enumerate(told):
        search.look(f"output {number}", done.stdout)
        search.look(f"complaint {number}", done.stderr)
    search.look_below(workspace.folder.parent, given)
    search.look_in_registry(workspace.registry, FLYTE_BASE.replace("ghcr.io", machine.mirrors["ghcr.io"]))
    with closing(docker.from_env()) as client:
        image = client.images.get(built["fine"]["reference"])
        search.look("image", json.dumps([image.attrs, image.history()]))
    for ending in ("plan.json", "files.sqlite as SQL", "state.sqlite as SQL", "image"):
        assert any(place.endswith(ending) for place in search.places), search.places
    assert any("flytebuild-cache" in place for place in search.places)
    assert not search.found
    # The search itself finds what there is.
    search.look_below(given)
    assert len(search.found) == 2


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
