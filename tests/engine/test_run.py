"""The example in containers: the same workflow started in all three ways, each task in its own image."""

import json
import re
import secrets
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest

from tests import plain
from tests.conftest import Machine
from tests.engine.conftest import BIN, SIGNALS, Workspace, in_image
from tests.runs import ENDED, tell_failures

pytestmark = pytest.mark.engine

SEQUENCE = "AAGGTTCCAA"


@pytest.fixture(scope="module")
def shared_prefix(machine: Machine) -> str:
    """A place in the registry for the tests of this file."""
    return f"{machine.registry}/t{secrets.token_hex(6)}"


@pytest.fixture
def stocked(workspace: Workspace, shared_prefix: str) -> Workspace:
    """The same in whose registry there is what tests before have built."""
    environ = {**workspace.environ, "FLYTEBUILD_REGISTRY": shared_prefix}
    return replace(workspace, registry=shared_prefix, environ=environ)


def run_document(url: str) -> dict[str, Any]:
    """What the control plane knows of the run whose page is `url`, once it has ended."""
    base, _, name = url.partition("/v2/")
    name = name.rpartition("/")[2]
    deadline = time.monotonic() + 120
    with httpx.Client(timeout=30) as http:
        while time.monotonic() < deadline:
            document: dict[str, Any] = http.get(f"{base}/api/runs/{name}").json()
            if document["phase"] in ENDED:
                tell_failures(document)
                return document
            time.sleep(0.1)
    raise AssertionError(f"the run did not end: {document}")


def check_example(document: dict[str, Any], plan: dict[str, Any]) -> None:
    assert document["phase"] == "SUCCEEDED"
    assert list(document["outputs"].values()) == [[SEQUENCE, SEQUENCE]]
    actions = {action["task"]: action for action in document["actions"]}
    assert set(actions) == {"multi_env.main", "msa_env.run_msa", "fold_env.run_fold"}
    images = {item["name"]: item["image"] for item in plan["environments"]}
    assert {action["environment"]: action["image"] for action in actions.values()} == images
    assert len({action["image_id"] for action in actions.values()}) == 3
    assert len({action["container"] for action in actions.values()}) == 3


def test_flytebuild_run(workspace: Workspace) -> None:
    done = workspace.flytebuild("run", "main.py", "main", "--sequence", SEQUENCE)
    assert json.loads(done.stdout) == [SEQUENCE, SEQUENCE]
    (url,) = re.findall(r"http://\S+/runs/\S+", done.stderr.splitlines()[next_index(done.stderr)])
    check_example(run_document(url), workspace.plan("--for", "main"))
    drawn = plain.get(f"{url}/environments").text
    assert (drawn.count("pip: ruff"), drawn.count("pip: pytest")) == (1, 2), "what images share is there once"
    assert "in 3 images" in drawn
    plane = url.partition("/v2/")[0]
    (build,) = re.findall(r"/builds/\w+", plain.get(f"{plane}/builds").text)
    made = plain.get(plane + build).text
    assert all(words in made for words in ("pip: ruff", "fold_env", "from the cache"))
    page = plain.get(url)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    images = [item["image"] for item in workspace.plan("--for", "main")["environments"]]
    for text in ("multi_env", "msa_env", "run_msa", "fold_env", "run_fold", "running alphafold2", "succeeded", *images):
        assert text in page.text.lower()
    again = workspace.flytebuild("run", "--json", "main.py", "main", "--sequence", SEQUENCE)
    assert "3 images, nothing to build" in again.stderr
    check_example(json.loads(again.stdout), workspace.plan("--for", "main"))


CALLED = """
import asyncio

import flytebuild
from main import main

run = flytebuild.run(main, sequence="AAGGTTCCAA")
run.wait(quiet=True)
print(list(run.outputs()))


async def again():
    run = await flytebuild.run.aio(main, sequence="AAGG")
    await run.wait.aio(quiet=True)
    print(list(await run.outputs.aio()))


asyncio.run(again())
try:
    flytebuild.run(len)
except flytebuild.errors.UsageError as error:
    print(error)
"""


def test_from_python(stocked: Workspace) -> None:
    stocked.write({"called.py": CALLED})
    done = stocked.run("python", "called.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "[['AAGGTTCCAA', 'AAGGTTCCAA']]",
        "[['AAGG', 'AAGG']]",
        "`<built-in function len>` is no task of an environment",
    ]


ELSEWHERE = """
import flyte
import only_there

image = flyte.Image.from_debian_base().with_env_vars({"PYTHONPATH": "/opt/extra"}).with_commands(
    ["mkdir /opt/extra", "echo SEVEN=7 > /opt/extra/only_there.py"]
)
env = flyte.TaskEnvironment("elsewhere", image=image)


@env.task
def times_seven(n: int) -> int:
    return n * only_there.SEVEN
"""


def test_what_a_task_imports_is_needed_in_its_image_alone(stocked: Workspace) -> None:
    stocked.write({"elsewhere.py": ELSEWHERE})
    done = stocked.flytebuild("run", "elsewhere.py", "times_seven", "--n", "6")
    assert done.stdout == "42\n"
    assert "note: `only_there` is not installed here; `elsewhere.py` is read without it" in done.stderr
    nowhere = ELSEWHERE.replace("image=image", "image=flyte.Image.from_debian_base()")
    stocked.write({"nowhere.py": nowhere.replace('"elsewhere"', '"nowhere"')})
    failed = stocked.flytebuild("run", "nowhere.py", "times_seven", "--n", "6", code=1)
    assert "note: nowhere.py:3: The image of `nowhere` lacks `only_there`" in failed.stderr
    assert "failed in `nowhere.times_seven`: ModuleNotFoundError: No module named 'only_there' …" in failed.stderr
    refused = stocked.flytebuild("run", "--strict-imports", "elsewhere.py", "times_seven", "--n", "6", code=65)
    assert "No module named 'only_there'" in refused.stderr


def next_index(text: str) -> int:
    return next(number for number, line in enumerate(text.splitlines()) if line.startswith("Run "))


def test_flyte_run_and_python_main_py_find_everything_by_flyte_s_own_configuration(workspace: Workspace) -> None:
    workspace.flytebuild("up")
    assert (workspace.folder / ".flyte" / "config.yaml").exists()
    # Started on demand from here on: the configuration is all that is left.
    workspace.flytebuild("down")

    script = workspace.run("python", "main.py")
    assert script.returncode == 0, script.stderr
    assert "not found" not in script.stdout + script.stderr
    url = script.stdout.split()[-1]
    plan = workspace.plan("--for", "main")
    assert {image["status"] for image in plan["images"]} == {"present"}
    check_example(run_document(url), plan)

    workspace.flytebuild("down")
    done = workspace.run("flyte", "run", "--follow", "main.py", "main", "--sequence", SEQUENCE, COLUMNS="300")
    assert done.returncode == 0, done.stderr
    assert "nothing to build" in done.stderr
    # The SDK is told what is there, and does not look for it by its own tags.
    assert "not found" not in done.stdout + done.stderr
    (url,) = set(re.findall(r"http://[\w.:/-]+/runs/\w+", done.stdout))
    check_example(run_document(url), plan)

    workspace.write({"built.py": BUILT})
    built = workspace.run("python", "built.py")
    images = {item["name"]: item["image"] for item in plan["environments"]}
    assert built.stdout.split() == [images["multi_env"]], built


BUILT = """
import flyte
from main import env

flyte.init_from_config()
print(flyte.build(env.image).uri)
"""
BUNDLES = """
import flyte
from beside import VALUE

base = flyte.Image.from_debian_base(name="b")
loaded = flyte.TaskEnvironment("loaded", image=base.with_workdir("/srv/app").with_code_bundle())
whole = flyte.TaskEnvironment("whole", image=base.with_code_bundle(copy_style="all"), depends_on=[loaded])


@loaded.task
async def inner() -> str:
    return VALUE


@whole.task
async def main() -> str:
    return await inner()


if __name__ == "__main__":
    flyte.init_from_config()
    print(flyte.with_runcontext(copy_style="none", version="v1").run(main).url)
"""


def test_a_run_that_brings_no_code_finds_it_in_the_images(stocked: Workspace) -> None:
    stocked.write({"bundles/main.py": BUNDLES, "bundles/beside.py": "VALUE = 'from the image'\n"})
    project = replace(stocked, folder=stocked.folder / "bundles")
    project.flytebuild("up")
    command = ("flyte", "run", "--copy-style", "none", "--version", "v1", "main.py", "main")
    for arguments in (command, ("python", "main.py")):
        done = project.run(*arguments, COLUMNS="300")
        assert done.returncode == 0, done.stderr
        (url,) = set(re.findall(r"http://[\w.:/-]+/runs/\w+", done.stdout))
        document = run_document(url)
        assert list(document["outputs"].values()) == ["from the image"], document
    assert "2 images, nothing to build" in done.stderr
    planned = project.flytebuild("plan").stderr
    assert planned.count("note: `with_code_bundle` (main.py:") == 2


OWNER = """
import flyte
import ruff
from fold.run import fold_image

owner = flyte.TaskEnvironment("owner", image=fold_image)


@owner.task
async def work(text: str) -> str:
    if not text:
        raise ValueError("nothing to work on")
    return f"{ruff.__name__} {text}"
"""

APART = """
from importlib.util import find_spec

import flyte
import flyte.errors
import flyte.remote
from msa.run import msa_image

apart = flyte.TaskEnvironment("apart", image=msa_image)


@apart.task
async def call() -> list[str]:
    work = flyte.remote.Task.get("owner.work", auto_version="latest")
    said = [str(find_spec("ruff")), await work(text="works")]
    try:
        await work(text="")
    except flyte.errors.RuntimeUserError as error:
        said.append(f"{error.code}: {error}")
    try:
        await flyte.remote.Task.get("owner.work", version="v0")(text="x")
    except flyte.errors.RemoteTaskNotFoundError as error:
        said.append(str(error))
    return said
"""


def test_a_deployed_task_is_called_from_an_image_without_its_packages(workspace: Workspace) -> None:
    workspace.write({"owner.py": OWNER, "apart.py": APART})
    workspace.flytebuild("up")
    deployed = workspace.run("flyte", "deploy", "--version", "v1", "owner.py", "owner", COLUMNS="300")
    assert deployed.returncode == 0, deployed.stderr
    document = json.loads(workspace.flytebuild("run", "--json", "apart.py", "call").stdout)
    (said,) = document["outputs"].values()
    assert said[:3] == ["None", "ruff works", "ValueError: nothing to work on"]
    assert "owner.work" in said[3]
    caller, *called = document["actions"]
    assert [(item["task"], item["parent"]) for item in called] == [("owner.work", "a0")] * 2
    assert caller["image"] not in {item["image"] for item in called}


def test_run_msa_cannot_import_ruff_and_runs_in_another_container_than_main(stocked: Workspace) -> None:
    source = (stocked.folder / "msa" / "run.py").read_text()
    look = "' '.join([socket.gethostname(), *(str(find_spec(name) is not None) for name in ('ruff', 'pytest'))])"
    assert "fp.write(x)" in source
    imports = "import socket\nfrom importlib.util import find_spec\n"
    stocked.write({"msa/run.py": imports + source.replace("fp.write(x)", f"fp.write({look})")})
    done = stocked.flytebuild("run", "--json", "main.py", "main", "--sequence", SEQUENCE)
    document = json.loads(done.stdout)
    (outputs,) = document["outputs"].values()
    host, has_ruff, has_pytest = outputs[0].split()
    assert (has_ruff, has_pytest) == ("False", "True")
    containers = {action["task"]: action["container"] for action in document["actions"]}
    assert containers["msa_env.run_msa"].startswith(host)
    assert not containers["multi_env.main"].startswith(host)
    # `main`, whose image has both, is the counter-check.
    (image,) = [item["image"] for item in document["actions"] if item["task"] == "multi_env.main"]
    assert in_image(image, "python", "-c", "import ruff, pytest; print('both')").strip() == "both"


@pytest.mark.parametrize(
    "command",
    [
        ("python", "main.py"),
        ("flyte", "run", "main.py", "main", "--sequence", SEQUENCE),
        ("flytebuild", "run", "main.py", "main", "--sequence", SEQUENCE),
    ],
    ids=["python", "flyte", "flytebuild"],
)
def test_without_an_engine_every_way_to_start_ends_and_says_why(
    workspace: Workspace, tmp_path: Path, command: tuple[str, ...]
) -> None:
    workspace.flytebuild("up")
    workspace.flytebuild("down")
    missing = f"unix://{tmp_path}/nothing.sock"
    done = workspace.run(*command, timeout=100, DOCKER_HOST=missing)
    assert done.returncode != 0
    assert f"No Docker Engine answers at `{missing}` (from `DOCKER_HOST`)" in done.stderr
    assert "hint: start Docker" in done.stderr
    assert [line.startswith("error: ") for line in done.stderr.splitlines()].count(True) == 1


@SIGNALS
def test_a_signal_aborts_the_run_and_leaves_no_container(stocked: Workspace, number: int, code: int) -> None:
    marker = secrets.token_hex(8)
    text = (
        f"import time\n\nfrom fold.run import fold_env\n\n\n@fold_env.task\ndef wait() -> int:\n    print('{marker}')\n"
    )
    stocked.write({"slow.py": text + "    time.sleep(300)\n    return 1\n"})
    with subprocess.Popen(
        [str(BIN / "flytebuild"), "run", "slow.py", "wait"],
        cwd=stocked.folder,
        env={**stocked.environ, "PYTHONUNBUFFERED": "1"},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.strip().startswith("running"):
                break
        process.send_signal(number)
        rest = process.stderr.read()
        assert process.wait(60) == code
    assert "aborted" in rest
    assert "Traceback" not in rest
    client = docker.from_env()
    try:
        mine = {"label": f"dev.flytebuild.run={rest.split('Run ')[1].split()[0]}"}
        # The run is aborted at once; its container goes as soon as the engine has removed it.
        deadline = time.monotonic() + 60
        while client.containers.list(all=True, filters=mine, ignore_removed=True) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert client.containers.list(all=True, filters=mine, ignore_removed=True) == []
    finally:
        client.close()


def test_a_task_that_fails_is_told_in_one_sentence_with_the_task_s_own_error(stocked: Workspace) -> None:
    stocked.write(
        {
            "failing.py": (
                "from fold.run import fold_env\n\n\n"
                "@fold_env.task\n"
                "def fail(x: int) -> int:\n"
                "    raise ValueError(f'no fold for {x}')\n"
            )
        }
    )
    failed = stocked.flytebuild("run", "failing.py", "fail", "--x", "7", code=1)
    assert "no fold for 7" in failed.stderr
    assert "`fold_env.fail`" in failed.stderr
    assert "hint: its logs are at http://127.0.0.1" in failed.stderr
    assert "Traceback" not in failed.stderr.partition("error:")[2]


def test_a_failed_run_names_the_task_that_raised_its_place_and_its_attempts(stocked: Workspace) -> None:
    stocked.write(
        {
            "nested.py": (
                "import flyte\n"
                "from fold.run import fold_env\n\n"
                "env = flyte.TaskEnvironment('env', image=fold_env.image, depends_on=[fold_env])\n\n\n"
                "def check(x: int) -> int:\n"
                "    if x == 2:\n"
                "        raise ValueError(f'no fold for {x}')\n"
                "    return x\n\n\n"
                "@fold_env.task(retries=1)\n"
                "async def fold_one(x: int) -> int:\n"
                "    return check(x)\n\n\n"
                "@env.task\n"
                "async def middle(x: int) -> int:\n"
                "    return await fold_one(x)\n\n\n"
                "@env.task\n"
                "async def outer() -> int:\n"
                "    return await middle(1) + await middle(2)\n"
            )
        }
    )
    failed = stocked.flytebuild("run", "nested.py", "outer", code=1)
    lines = failed.stderr.splitlines()
    told = [line.split() for line in lines if line.split()[:1] in (["succeeded"], ["failed"])]
    assert {(words[0], *words[1 : 2 if words[1] == "env.outer" else 3]) for words in told} == {
        ("succeeded", "fold_env.fold_one", "#1"),
        ("succeeded", "env.middle", "#1"),
        ("failed", "fold_env.fold_one", "#2"),
        ("failed", "env.middle", "#2"),
        ("failed", "env.outer"),
    }
    assert sum(" runs in image " in line for line in lines) == 2
    assert "  retrying       fold_env.fold_one #2  attempt 1 failed" in failed.stderr, "below what called it"
    (error,) = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    assert lines[error].endswith(
        "failed in `fold_env.fold_one` #2, attempt 2: ValueError: no fold for 2",
    )
    assert lines[error - 4 : error] == [
        "  nested.py:15 in fold_one",
        "    return check(x)",
        "  nested.py:9 in check",
        "    raise ValueError(f'no fold for {x}')",
    ]


HOPELESS = """
import flyte

image = flyte.Image.from_debian_base(name="hopeless")
secret = flyte.TaskEnvironment("secret", image=image.with_env_vars({"A": "1"}), secrets=["NOBODY_HAS_THIS"])
large = flyte.TaskEnvironment(
    "large", image=image.with_env_vars({"A": "2"}), resources=flyte.Resources(cpu=4096), depends_on=[secret]
)


@secret.task
def fetch() -> None: ...


@large.task
def main() -> None:
    fetch()
"""


def test_what_a_run_is_refused_for_is_told_before_anything_is_built(workspace: Workspace) -> None:
    workspace.write({"hopeless.py": HOPELESS})
    large = workspace.flytebuild("run", "hopeless.py", "main", code=65).stderr
    assert "note: `secret.fetch` asks for the secret `NOBODY_HAS_THIS`, and there is none; a run that calls it" in large
    assert "error: `large.main` asks for 4096 CPUs, where this machine has " in large
    secret = workspace.flytebuild("run", "hopeless.py", "fetch", code=65).stderr
    assert "error: `secret.fetch` asks for the secret `NOBODY_HAS_THIS`, and there is none\n" in secret
    assert "hint: set the variable `NOBODY_HAS_THIS`" in secret
    assert set(workspace.statuses("hopeless.py").values()) == {"missing"}


def test_bad_input_to_run(workspace: Workspace) -> None:
    assert "did you mean `main`?" in workspace.flytebuild("run", "main.py", "man", code=64).stderr
    assert "--sequence" in workspace.flytebuild("run", "main.py", "main", code=64).stderr
    assert "--sequence" in workspace.flytebuild("run", "main.py", "main", "--help").stdout
    workspace.write({"broken.py": "import flyte\nimport nowhere\n"})
    broken = workspace.flytebuild("run", "--strict-imports", "broken.py", "main", code=65)
    assert "import nowhere" in broken.stderr
    assert "flytebuild/" not in broken.stderr
