"""What a container gets of its image: user, folder, environment, and what a base says of itself."""

from __future__ import annotations

import json
import secrets
from typing import Any

import flyte
import pytest

from flytebuild.build.labels import IMAGE, LAYERS, SPEC
from flytebuild.buildkit.export import Export
from flytebuild.buildkit.solve import image_config
from flytebuild.spec.images import RuntimeConfig
from tests.engine.building import Builds, Built
from tests.engine.solving import Solver

pytestmark = pytest.mark.engine

OURS = {IMAGE, LAYERS, SPEC}
BASE_PATH = "/opt/acme/bin:/usr/local/bin:/usr/bin:/bin"
VALUES = {
    "SPACED": "two  words ",
    "QUOTED": 'it\'s "quoted"',
    "JOINED": "$GREETING, ${NAME:-world}! ${GREETING:+set}${MISSING:+unset}",
    "PRICE": r"\$5 & a `tick`; #no comment = sign",
    "EMPTY": "",
    "LINES": "one\ntwo",
    "PATH": "/first:$PATH",
    "ÜMLAUT": "ünï",
}


@pytest.fixture(scope="module")
def service(solver: Solver) -> str:
    """A base whose config says everything that a config can say."""
    made = solver.shell("/usr/sbin/useradd --uid 1234 --create-home app; mkdir -p /srv/app; chown app:app /srv/app")
    config = RuntimeConfig(
        env=(("PATH", BASE_PATH), ("LD_LIBRARY_PATH", "/opt/acme/lib"), ("GREETING", "good morning")),
        user="app",
        workdir="/srv/app",
        entrypoint=("/usr/bin/env", "ENTERED=yes"),
        cmd=("sh", "-c", "echo by default; env"),
        labels=(("com.example.team", "imaging"), (IMAGE, "0" * 64)),
        shell=("/bin/bash", "-o", "pipefail", "-c"),
        other=json.dumps(
            {
                "ExposedPorts": {"8080/tcp": {}},
                "Healthcheck": {"Test": ["CMD", "true"], "Interval": 30_000_000_000},
                "StopSignal": "SIGINT",
                "Volumes": {"/srv/data": {}},
            }
        ),
    )
    path = f"acme/t{secrets.token_hex(5)}:1"
    attrs = {"name": f"{solver.mirror}/{path}", "push": "true"}
    attrs["containerimage.config"] = image_config(config, solver.platform, {})
    solver.solve(made, export=Export("image", attrs))
    return f"ghcr.io/{path}"


@pytest.fixture(scope="module")
def images(builds: Builds, service: str) -> dict[str, Built]:
    derived = builds.named(flyte.Image.from_base(service))
    look = "id -un > /built-by; pwd > /built-in; [[ a == a ]] && set -o | grep pipefail > /shell"
    before, after = {"SEEN": "before"}, {"SEEN": "after"}
    return builds.build(
        {
            "derived": derived.with_commands([look]),
            "values": derived.with_env_vars(VALUES).with_env_vars({"NAME": "late", "SPACED": "$SPACED again"}),
            "order": derived.with_env_vars(before).with_commands(['echo "$SEEN" >/seen']).with_env_vars(after),
            "folders": derived.with_workdir("data//raw/").with_env_vars({"PART": "x y"}).with_workdir("../$PART/z"),
            "root folder": derived.with_workdir("/"),
            "kept folder": derived.with_commands(["mkdir -m 700 /kept && touch -d 2001-02-03 /kept"]).with_workdir(
                "/kept"
            ),
            "flyte": builds.base.with_commands(["true"]),
        }
    )


def environment(image: Built, **options: Any) -> dict[str, str]:
    """The environment that a process in a container really gets."""
    text = "import json, os; print(json.dumps(dict(os.environ)))"
    found: dict[str, str] = json.loads(image.run("-c", text, entrypoint=["/usr/bin/python3"], **options))
    return {name: value for name, value in found.items() if name not in ("HOSTNAME", "HOME", "LC_CTYPE")}


def test_a_base_without_layers_is_used_as_it_is(builds: Builds, service: str) -> None:
    (image,) = builds.plan({"as it is": flyte.Image.from_base(service)}).images
    assert (image.reference, image.status, image.must_be_built) == (service, "external", False)


def test_a_derived_image_says_what_its_base_says(images: dict[str, Built]) -> None:
    config = images["derived"].config
    assert config["User"] == "app"
    assert config["WorkingDir"] == "/srv/app"
    assert config["Entrypoint"] == ["/usr/bin/env", "ENTERED=yes"]
    assert config["Cmd"] == ["sh", "-c", "echo by default; env"]
    assert config["StopSignal"] == "SIGINT"
    assert config["ExposedPorts"] == {"8080/tcp": {}}
    assert config["Volumes"] == {"/srv/data": {}}
    assert config["Healthcheck"] == {"Test": ["CMD", "true"], "Interval": 30_000_000_000}
    assert config["Shell"] == ["/bin/bash", "-o", "pipefail", "-c"]
    assert {name: value for name, value in config["Labels"].items() if name not in OURS} == {
        "com.example.team": "imaging"
    }
    assert set(config["Labels"]) >= OURS


def test_the_environment_is_the_base_s_and_what_flyte_sets_and_nothing_else(images: dict[str, Built]) -> None:
    assert environment(images["derived"]) == {
        "GREETING": "good morning",
        "LD_LIBRARY_PATH": "/opt/acme/lib:/usr/local/nvidia/lib64",
        "PATH": f"/opt/venv/bin:{BASE_PATH}:/usr/local/nvidia/bin:/usr/local/cuda/bin",
        "UV_COMPILE_BYTECODE": "1",
        "UV_LINK_MODE": "copy",
        "UV_PYTHON": "/opt/venv/bin/python",
        "VIRTUALENV": "/opt/venv",
    }


def test_steps_run_as_root_and_containers_as_the_base_s_user(images: dict[str, Built]) -> None:
    image = images["derived"]
    assert image.sh("cat /built-by /built-in; id -un; pwd") == ["root", "/srv/app", "app", "/srv/app"]
    assert image.sh("tr -s '\\t ' ' ' </shell") == ["pipefail on"]
    lines = image.run().splitlines()
    assert lines[0] == "by default"
    assert "ENTERED=yes" in lines


def test_a_base_s_user_stays_its_user(images: dict[str, Built]) -> None:
    assert images["flyte"].config["User"] == "flyte"
    assert images["flyte"].sh("id -un; pwd; stat -c %U .; touch here") == ["flyte", "/home/flyte", "flyte"]


def test_values_of_variables_arrive_as_they_are_written(images: dict[str, Built]) -> None:
    found = environment(images["values"])
    path = f"/first:/opt/venv/bin:{BASE_PATH}:/usr/local/nvidia/bin:/usr/local/cuda/bin"
    expected = {
        "SPACED": "two  words  again",
        "QUOTED": VALUES["QUOTED"],
        "JOINED": "good morning, world! set",
        "PRICE": "$5 & a `tick`; #no comment = sign",
        "EMPTY": "",
        "LINES": "one\ntwo",
        "PATH": path,
        "ÜMLAUT": "ünï",
        "NAME": "late",
    }
    assert {name: found[name] for name in expected} == expected
    assert images["values"].env["LINES"] == "one\ntwo"


def test_a_step_sees_the_variables_that_are_set_before_it(images: dict[str, Built]) -> None:
    assert images["order"].sh("cat /seen; echo $SEEN") == ["before", "after"]


def test_working_folders_are_made_for_whom_containers_run_as(images: dict[str, Built]) -> None:
    image = images["folders"]
    assert image.config["WorkingDir"] == "/srv/app/data/x y/z"
    look = "pwd; stat -c '%U:%G %a' /srv/app/data /srv/app/data/raw '/srv/app/data/x y' .; touch file"
    assert image.sh(look) == ["/srv/app/data/x y/z", *["app:app 755"] * 4]
    assert images["root folder"].sh("pwd") == ["/"]


def test_a_working_folder_that_is_there_stays_as_it_is(images: dict[str, Built]) -> None:
    assert images["kept folder"].sh("stat -c '%U %a %y' /kept", user="root") == [
        "root 700 2001-02-03 00:00:00.000000000 +0000"
    ]


def test_images_say_what_they_are_made_of(builds: Builds, images: dict[str, Built]) -> None:
    labels = images["derived"].config["Labels"]
    document = json.loads(labels[SPEC])
    assert images["derived"].reference == f"{builds.settings.registry}/{builds.token}:b3-{labels[IMAGE][:32]}"
    assert [layer["kind"] for layer in document["layers"]] == ["uv", "venv", "command"]
    assert len(labels[LAYERS].split(",")) == 3
    assert document["config"]["user"] == "app"


def test_clones_under_another_name_are_the_same_image(builds: Builds, service: str) -> None:
    image = flyte.Image.from_base(service).clone(name="one", extendable=True).with_env_vars({"A": "1"})
    other = image.clone(name="two", registry="r.example/team")
    planned = builds.plan({"one": image, "two": other, "python": image.clone(python_version=(3, 12))})
    one, two, python = planned.images
    assert one.digest == two.digest != python.digest
    assert two.reference == f"r.example/team/two:b3-{one.digest[:32]}"
