"""Planning and building on the real engine, by the command line."""

import json
import os
import pty
import secrets
import subprocess
import termios
from pathlib import Path

import docker
import pytest

from scripts.machine.processes import wait_until
from tests.engine.conftest import BIN, SIGNALS, Workspace, in_image, processes_with, repository_tags

pytestmark = pytest.mark.engine

NOTHING = "nothing to build"


def test_exactly_what_is_missing_is_built(workspace: Workspace) -> None:
    assert set(workspace.statuses().values()) == {"missing"}
    workspace.flytebuild("plan", "--exit-code", code=2)

    workspace.flytebuild("build", "--for", "run_msa")
    assert workspace.statuses() == {"fold_env": "missing", "msa_env": "present", "multi_env": "missing"}
    assert len(repository_tags(workspace.registry)) == 1

    built = json.loads(workspace.flytebuild("build", "--for", "main", "--json").stdout)
    results = {image["environments"][0]: image["result"] for image in built["images"]}
    assert results == {"fold_env": "built", "msa_env": "present", "multi_env": "built"}
    assert len(repository_tags(workspace.registry)) == 3

    sizes = json.loads(workspace.flytebuild("size", "--json", "--for", "main").stdout)
    own = {image["environments"][0]: image["own"] for image in sizes["images"]}
    assert own["fold_env"] == 0, "all of it is in the image of multi_env as well"
    assert own["msa_env"] > 0
    assert sizes["bytes"] == sum(layer["bytes"] for layer in sizes["layers"])
    assert sizes["layers"][0]["images"] == 3
    names = [layer["made_by"] for layer in sizes["layers"]]
    assert names[0].startswith("base ghcr.io/flyteorg/flyte:py3.11-v")
    assert "pip: pytest" in names
    assert not any("buildkit" in name or "uv pip install" in name for name in names)
    over = workspace.flytebuild("size", "--for", "run_msa", "--budget", "1MB", code=1)
    assert "error: The image of `msa_env` has" in over.stderr

    assert workspace.flytebuild("plan", "--exit-code", "--for", "main").returncode == 0
    again = workspace.flytebuild("build", "--for", "main")
    assert NOTHING in again.stderr


def test_an_environment_that_nothing_needed_depends_on_is_not_built(workspace: Workspace) -> None:
    other = (workspace.folder / "msa" / "run.py").read_text().replace("msa_env", "other_env").replace("pytest", "six")
    workspace.write({"other.py": other.replace("run_msa", "run_other")})
    workspace.flytebuild("build", "--for", "main")
    assert workspace.statuses()["other_env"] == "missing"
    assert len(repository_tags(workspace.registry)) == 3


def test_no_docker_or_buildctl_command_is_called(workspace: Workspace, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("docker", "buildctl", "nerdctl", "podman"):
        script = tools / name
        script.write_text(f"#!/bin/sh\necho {name} >> {tmp_path}/called\nexit 1\n")
        script.chmod(0o755)
    workspace.flytebuild("build", "--for", "run_msa", PATH=f"{tools}:{workspace.environ['PATH']}")
    assert not (tmp_path / "called").exists()
    assert workspace.statuses("--for", "run_msa") == {"msa_env": "present"}


def test_the_image_is_what_was_asked_for_and_nothing_of_the_host(workspace: Workspace) -> None:
    token = secrets.token_hex(16)
    index = f"https://{token}:{token}@pypi.org/simple"
    workspace.flytebuild("build", "--for", "run_fold", UV_EXTRA_INDEX_URL=index)
    (image,) = workspace.plan("--for", "run_fold")["images"]
    assert image["status"] == "present"
    reference = image["reference"]

    seen = in_image(reference, "sh", "-c", "id -un; pwd; env; ls /run; ruff --version")
    lines = seen.splitlines()
    assert lines[:2] == ["flyte", "/home/flyte"]
    assert any(line.startswith("ruff ") for line in lines)
    assert "SSL_CERT_FILE" not in seen
    assert "flytebuild" not in seen
    client = docker.from_env()
    try:
        inspected = client.images.get(reference)
        everything = json.dumps([inspected.attrs, inspected.history()])
    finally:
        client.close()
    assert token not in everything
    assert token not in json.dumps(image)
    labels = inspected.labels
    assert labels["dev.flytebuild.image"] == image["digest"]
    assert labels["dev.flytebuild.layers"].split(",") == [layer["digest"] for layer in image["layers"][1:]]
    documents = json.loads(labels["dev.flytebuild.spec"])
    assert documents["layers"][-1]["spec"] == {"requirements": ["ruff"]}
    held = in_image(
        reference, "sh", "-c", f"grep -rl {token} / --exclude-dir=proc --exclude-dir=sys 2>/dev/null || true"
    )
    assert held == ""


def test_without_a_registry_images_are_in_the_engine_s_store(workspace: Workspace) -> None:
    source = (workspace.folder / "msa" / "run.py").read_text()
    # A name of this run's own: the engine's store is shared by all tests.
    name = f"t{secrets.token_hex(4)}"
    workspace.write({"msa/run.py": source.replace("from_debian_base()", f'from_debian_base(name="{name}")')})
    environ = {"FLYTEBUILD_REGISTRY": ""}
    (image,) = workspace.plan("--for", "run_msa", **environ)["images"]
    assert (image["status"], image["reason"]) == ("missing", "new environment, not in the engine's store")
    workspace.flytebuild("build", "--for", "run_msa", **environ)
    (image,) = workspace.plan("--for", "run_msa", **environ)["images"]
    assert image["status"] == "present"
    assert image["reference"].startswith(f"flytebuild.local/{name}:b3-")
    assert "pytest" in in_image(image["reference"], "pytest", "--version")

    workspace.write({"msa/run.py": (workspace.folder / "msa" / "run.py").read_text().replace("pytest", "six")})
    shown = json.loads(workspace.flytebuild("prune", "msa", "--json", "--yes", **environ).stdout)
    (old,) = shown["images"]
    assert old["references"] == [image["reference"]]
    assert old["bytes"] > 0
    assert old["made"] is not None
    assert json.loads(workspace.flytebuild("prune", "msa", "--json", **environ).stdout)["images"] == []


def test_a_package_that_does_not_exist_fails_its_image_only(workspace: Workspace) -> None:
    source = (workspace.folder / "msa" / "run.py").read_text()
    missing = f"no-such-package-{secrets.token_hex(8)}"
    workspace.write({"msa/run.py": source.replace('["pytest"]', f'["{missing}"]')})
    failed = workspace.flytebuild("build", "--for", "main", code=1)
    assert f"step failed: pip: {missing}" in failed.stderr
    assert "uv pip install" in failed.stderr
    assert "not found in the package registry" in failed.stderr
    assert "error: Building 2 of 3 images failed" in failed.stderr
    assert "Traceback" not in failed.stderr
    statuses = workspace.statuses("--for", "main")
    assert statuses == {"fold_env": "present", "msa_env": "missing", "multi_env": "missing"}


def test_a_shared_step_that_fails_is_told_once_with_all_that_it_broke(workspace: Workspace) -> None:
    source = (workspace.folder / "fold" / "run.py").read_text()
    missing = f"no-such-package-{secrets.token_hex(8)}"
    workspace.write({"fold/run.py": source.replace('["ruff"]', f'["{missing}"]')})
    failed = workspace.flytebuild("build", "--json", "--for", "main", code=1)
    assert failed.stderr.count(f"step failed: pip: {missing}") == 1
    assert "(image of `fold_env`, `multi_env`)" in failed.stderr
    images = {image["environments"][0]: image for image in json.loads(failed.stdout)["images"]}
    results = {name: image["result"] for name, image in images.items()}
    assert results == {"fold_env": "failed", "msa_env": "built", "multi_env": "failed"}
    assert images["msa_env"]["error"] is None
    assert all("exit code: 1" in images[name]["error"] for name in ("fold_env", "multi_env"))


def test_images_are_built_at_the_same_time(workspace: Workspace) -> None:
    lines = workspace.flytebuild("build", "--for", "main", CI="1").stderr.splitlines()
    started = [number for number, line in enumerate(lines) if ": building " in line]
    ended = [number for number, line in enumerate(lines) if ": built " in line]
    assert (len(started), len(ended)) == (3, 3)
    assert max(started) < min(ended)


def test_a_base_that_does_not_exist(workspace: Workspace) -> None:
    source = (workspace.folder / "msa" / "run.py").read_text()
    workspace.write({"msa/run.py": source.replace("from_debian_base()", 'from_debian_base(flyte_version="0.0.0")')})
    for verb in ("plan", "build"):
        failed = workspace.flytebuild(verb, "--for", "run_msa", code=65)
        assert "error: The image of environment `msa_env` (msa/run.py:" in failed.stderr
        assert "cannot be made: there is no `ghcr.io/flyteorg/flyte:py3" in failed.stderr
        assert "hint: check the name and the tag" in failed.stderr


def test_a_registry_that_does_not_answer_ends_the_build_before_it_begins(workspace: Workspace) -> None:
    nobody = "127.0.0.1:1/x"
    failed = workspace.flytebuild("build", "--for", "main", code=69, FLYTEBUILD_REGISTRY=nobody)
    assert failed.stderr.splitlines()[:2] == [
        "3 images, 3 to build",
        "error: The registry `127.0.0.1:1` does not answer, so nothing that is built could be pushed there",
    ]
    assert "hint: check `registry`" in failed.stderr
    assert failed.stderr.count("\n") == 4

    # An image of its own registry does not hold up the others.
    source = (workspace.folder / "msa" / "run.py").read_text()
    workspace.write({"msa/run.py": source.replace("from_debian_base()", f'from_debian_base(registry="{nobody}")')})
    failed = workspace.flytebuild("build", "--for", "main", code=1)
    assert "step failed: looking at the registry  (image of `msa_env`)" in failed.stderr
    assert "error: Building 1 of 3 images failed" in failed.stderr
    assert workspace.statuses() == {"fold_env": "present", "msa_env": "unknown", "multi_env": "present"}


def test_no_engine(workspace: Workspace, tmp_path: Path) -> None:
    socket = f"unix://{tmp_path}/nothing.sock"
    failed = workspace.flytebuild("build", "--for", "run_msa", code=69, DOCKER_HOST=socket)
    assert f"error: No Docker Engine answers at `{socket}` (from `DOCKER_HOST`)" in failed.stderr
    assert "hint: start Docker" in failed.stderr
    assert "Traceback" not in failed.stderr
    # The registry answers without an engine, so the plan is a full one.
    assert workspace.statuses("--for", "run_msa") == {"msa_env": "missing"}


@SIGNALS
def test_a_signal_stops_the_steps_of_all_images_and_publishes_nothing(
    workspace: Workspace, number: int, code: int
) -> None:
    marker = secrets.token_hex(8)
    # As a time it is in the command line of the last process too, which may take the shell's place.
    seconds = f"300.{secrets.randbits(32)}"
    environments = "".join(
        f"\n{name} = flyte.TaskEnvironment('{name}', image=flyte.Image.from_debian_base().with_pip_packages("
        f"'six', extra_args='--version; echo {marker} {name}; sleep {seconds} #'))\n"
        f"\n\n@{name}.task\ndef in_{name}() -> int:\n    return 1\n\n"
        for name in ("one", "two", "three")
    )
    workspace.write({"slow/slow.py": f"import flyte\n\n{environments}"})
    with subprocess.Popen(
        # Two run when they are interrupted, and one waits for its turn.
        [str(BIN / "flytebuild"), "build", "-v", "--jobs", "2", "slow"],
        cwd=workspace.folder,
        env={**workspace.environ, "PYTHONUNBUFFERED": "1"},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        running = set()
        for line in process.stderr:
            if line.strip().startswith(marker):
                running.add(line.split()[1])
            if len(running) == 2:
                break
        assert wait_until(lambda: bool(processes_with(seconds)), 30)
        process.send_signal(number)
        assert wait_until(lambda: not processes_with(seconds), 30)
        rest = process.stderr.read()
        assert process.wait(20) == code
    lines = [line.strip() for line in rest.splitlines() if line.strip()]
    assert lines.count("pip: six: cancelled") == 2
    assert {line.partition(":")[0] for line in lines if ": cancelled after " in line} == running
    assert lines[-1] == {130: "interrupted", 143: "terminated"}[code]
    assert "failed" not in rest
    assert "Traceback" not in rest
    assert repository_tags(workspace.registry) == set()


def test_ctrl_c_gives_the_terminal_back_as_it_was(workspace: Workspace) -> None:
    marker = secrets.token_hex(8)
    commands = f"from_debian_base().with_commands(['sleep 300 # {marker}'])"
    workspace.write({"slow.py": f"import flyte\n\nenv = flyte.TaskEnvironment('env', image=flyte.Image.{commands})\n"})
    environ = {name: value for name, value in workspace.environ.items() if name != "CI"}
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(ours)
    with subprocess.Popen(
        # The terminal becomes the command's own, so that the key means something.
        ["setsid", "--ctty", str(BIN / "flytebuild"), "build", "slow.py"],
        cwd=workspace.folder,
        env={**environ, "TERM": "xterm", "COLUMNS": "160"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        said = b""
        while marker.encode() not in said:
            said += os.read(ours, 4096)
        os.write(ours, b"\x03")
        while b"interrupted" not in said:
            said += os.read(ours, 4096)
        assert process.wait(20) == 130
    assert termios.tcgetattr(ours) == before
    os.close(ours)
    # What was shown is cleared, and the cursor is back.
    assert said.count(b"\x1b[?25l") == said.count(b"\x1b[?25h") == 1
    assert b"env: cancelled after" in said.partition(b"\x1b[?25h")[2]


def test_a_saved_plan_is_built_exactly_or_refused(workspace: Workspace, tmp_path: Path) -> None:
    kept = tmp_path / "plan.json"
    workspace.flytebuild("plan", "--for", "run_msa", "-o", str(kept))
    shown = workspace.flytebuild("build", "--dry-run", str(kept))
    assert "pip: pytest" in shown.stdout
    assert repository_tags(workspace.registry) == set()

    source = (workspace.folder / "msa" / "run.py").read_text()
    workspace.write({"msa/run.py": source.replace('["pytest"]', '["pytest", "six"]')})
    refused = workspace.flytebuild("build", str(kept), code=65)
    assert "the image of `msa_env` is another one: `pip: pytest` became `pip: pytest, six`" in refused.stderr
    assert repository_tags(workspace.registry) == set()

    workspace.write({"msa/run.py": source})
    built = json.loads(workspace.flytebuild("build", "--json", str(kept)).stdout)
    assert [image["result"] for image in built["images"]] == ["built"]
    assert NOTHING in workspace.flytebuild("build", str(kept)).stderr


def test_the_first_failure_ends_the_others_if_that_is_wanted(workspace: Workspace) -> None:
    """`slow` cannot have ended: it waits for what only its cancellation brings."""
    workspace.write(
        {
            "failing.py": """
import flyte

base = flyte.Image.from_debian_base()
bad = flyte.TaskEnvironment(name="bad", image=base.clone(name="bad").with_commands(["false"]))
slow = flyte.TaskEnvironment(name="slow", image=base.clone(name="slow").with_commands(["sleep 600"]))
"""
        }
    )
    failed = workspace.flytebuild("build", "--fail-fast", "--json", "failing.py", code=1)
    results = {image["environments"][0]: image["result"] for image in json.loads(failed.stdout)["images"]}
    assert results == {"bad": "failed", "slow": "cancelled"}
    assert "Building 1 of 2 images failed, and another was cancelled" in failed.stderr
