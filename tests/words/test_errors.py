"""What users see when something is wrong: the sentence, the hint, the exit code."""

from __future__ import annotations

import io
import shlex
from collections.abc import Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass, field

import pytest

from flytebuild.cli.console import print_error
from flytebuild.errors import (
    BuildError,
    ControlPlaneError,
    FlytebuildError,
    RegistryUnavailableError,
    RunError,
    SourceChangedError,
    StepFailure,
)
from tests.cli.calls import Call, each
from tests.loopback import publish, registry
from tests.snapshot import Mask, Snapshots

LOCK = 'version = 1\nuv = "0.13.9"\n'
START = """\
import flyte

image = flyte.Image.from_base("ghcr.io/acme/base:1").clone(name="it", extendable=True, python_version=(3, 11))
"""
MAIN = f"""\
{START}
env = flyte.TaskEnvironment(name="env", image=image.with_pip_packages("six==1.17.0"))
other = flyte.TaskEnvironment(name="other")


@env.task
def main(x: int, name: str = "you") -> int:
    return x


@other.task
def helper(x: int) -> int:
    return main(x)
"""
DEFECT = """
import flytebuild.pipeline

def fail(*arguments, **options):
    raise KeyError("a thing")

flytebuild.pipeline.plan_definitions = fail
"""


def of(code: str) -> dict[str, str]:
    """A project of one environment `env`, its definition after the start."""
    return {"main.py": f"{START}\n{code}\n"}


@dataclass(frozen=True)
class Wrong:
    """A command that fails, what lies in its folder, and the code that it ends with."""

    command: str
    code: int
    files: Mapping[str, str] = field(default_factory=lambda: {"main.py": MAIN})
    environ: Mapping[str, str] = field(default_factory=dict)


CASES = {
    # 64: the command line or the configuration.
    "command": Wrong("bild", 64),
    "command-unlike-any": Wrong("frobnicate", 64),
    "target": Wrong("plan --for mian", 64),
    "target-unlike-any": Wrong("plan --for zzz", 64),
    "target-in-module": Wrong("plan --for main:helpr", 64),
    "target-nothing-there": Wrong("plan --for main", 65, {}),
    "nothing-there": Wrong("check", 65, {}),
    "path": Wrong("plan nowhere.py", 64),
    "path-is-a-task": Wrong("plan main", 64),
    "path-with-a-task": Wrong("plan main.py:main", 64),
    "target-is-a-file": Wrong("plan --for main.py", 64),
    "environment-is-a-file": Wrong("explain main.py", 64),
    "command-help": Wrong("help plan", 64),
    "command-version": Wrong("version", 64),
    "run-task-alone": Wrong("run main", 64),
    "run-input-before": Wrong("run --x 1 main.py main", 64),
    "diff-alone": Wrong("diff ghcr.io/acme/x:1", 64),
    "path-no-python": Wrong("plan notes.txt", 64, {"notes.txt": ""}),
    "configuration-key": Wrong("plan", 64, {"main.py": MAIN, "flytebuild.toml": 'regstry = "ghcr.io/acme"\n'}),
    "configuration-value": Wrong("plan", 64, {"main.py": MAIN, "flytebuild.toml": 'jobs = "many"\n'}),
    "configuration-not-toml": Wrong("plan", 64, {"main.py": MAIN, "flytebuild.toml": "jobs\n"}),
    "configuration-variable": Wrong("plan", 64, environ={"FLYTEBUILD_JOBS": "many"}),
    "platform": Wrong("plan --platform windows/amd64", 64),
    "two-forms": Wrong("plan --json --format markdown", 64),
    "two-forms-of-a-graph": Wrong("graph --json --format dot", 64),
    "home-folder": Wrong("plan", 64, environ={"HOME": "."}),
    "secret-source": Wrong("plan --secret HF_TOKEN", 64),
    "jobs": Wrong("build --jobs 0", 64),
    "output-kind": Wrong("build --output zip:images", 64),
    "rule": Wrong("check", 64, environ={"FLYTEBUILD_IGNORE": "depend-on"}),
    "budget": Wrong("size --budget huge", 64),
    "graph-form": Wrong("graph -o plan.svg", 64),
    "age": Wrong("runs prune --older-than soon", 64),
    "which-runs": Wrong("runs prune", 64),
    "saved-plan": Wrong("build plan.json", 64, {"main.py": MAIN, "plan.json": "{}"}),
    "run-which-task": Wrong("run main.py", 64),
    "run-task": Wrong("run main.py mian", 64),
    "run-option-behind": Wrong("run main.py main --json", 64),
    "diff-reference": Wrong("diff ghcr.io/Acme/X:1 main", 64),
    "shell-several": Wrong("shell '*'", 64),
    "lock-file": Wrong("plan --lock other.lock", 64),
    "lock-damaged": Wrong("plan", 64, {"main.py": MAIN, "flytebuild.lock": f"{LOCK}layer = 1\n"}),
    "lock-update": Wrong("lock --update pandsa", 64, {"main.py": MAIN, "flytebuild.lock": LOCK}),
    "lock-check-update": Wrong("lock --check --update pandas", 64),
    "lock-update-nothing": Wrong("lock --update pandas", 64),
    # 65: the definitions.
    "import": Wrong("plan", 65, of('raise ValueError("no such thing")')),
    "import-strict": Wrong("plan --strict-imports", 65, of("import nobody_has_this")),
    "stand-in": Wrong(
        "plan",
        65,
        of(
            "import nobody_has_this\n"
            'env = flyte.TaskEnvironment("env", image=image.with_pip_packages(nobody_has_this.NAME))'
        ),
    ),
    "stand-in-that-is-counted": Wrong("plan", 65, of("import nobody_has_this\nlen(nobody_has_this.NAMES)")),
    "duplicate": Wrong("plan --for one", 65, of('a = flyte.TaskEnvironment("one")\nb = flyte.TaskEnvironment("one")')),
    "cycle": Wrong(
        "plan",
        65,
        of('a = flyte.TaskEnvironment("one")\nb = flyte.TaskEnvironment("two", depends_on=[a])\na.add_dependency(b)'),
    ),
    "requirement": Wrong("plan", 65, of('env = flyte.TaskEnvironment("env", image=image.with_pip_packages("a=2"))')),
    "requirements-file": Wrong(
        "plan", 65, of('env = flyte.TaskEnvironment("env", image=image.with_requirements("reqs.txt"))')
    ),
    "ignore-pattern": Wrong(
        "plan",
        65,
        {
            **of(
                "from pathlib import Path\n"
                'image = image.with_source_folder(Path(__file__).parent / "data")\n'
                'env = flyte.TaskEnvironment("env", image=image)'
            ),
            ".dockerignore": "[\n",
            "data/x": "",
        },
    ),
    "strict": Wrong("build --strict", 65),
    "locked": Wrong("plan --for env --locked", 65),
    "lock-drift": Wrong("lock --for env --check", 65, {"main.py": MAIN, "flytebuild.lock": LOCK}),
    "build-secret": Wrong(
        "build",
        65,
        of('env = flyte.TaskEnvironment("env", image=image.with_pip_packages("a", secret_mounts="HF_TOKEN"))'),
    ),
    # 69: something outside.
    "engine": Wrong("build --for env", 69),
    "engine-for-a-run": Wrong("run main.py main --x 1", 69),
    "engine-for-up": Wrong("up", 69),
    "engine-for-a-shell": Wrong("shell env", 69),
    "registry": Wrong("prune", 69, environ={"FLYTEBUILD_REGISTRY": "127.0.0.1:1/acme"}),
    "registry-for-a-size": Wrong("size", 69, environ={"FLYTEBUILD_REGISTRY": "127.0.0.1:1/acme"}),
    "registry-for-a-budget": Wrong("size --budget 1MB", 69, environ={"FLYTEBUILD_REGISTRY": "127.0.0.1:1/acme"}),
    "registry-of-the-base": Wrong("build --for env", 69, environ={"FLYTEBUILD_MIRRORS": "ghcr.io=127.0.0.1:1"}),
    "builder": Wrong(
        "build --for env",
        69,
        environ={"BUILDKIT_HOST": "unix:///nowhere.sock", "FLYTEBUILD_REGISTRY": "127.0.0.1:1/acme"},
    ),
    "builder-that-keeps-nothing": Wrong("build --for env", 64, environ={"BUILDKIT_HOST": "unix:///nowhere.sock"}),
    # 70 and 74: ourselves, and what cannot be written.
    "defect": Wrong("plan", 70, {"main.py": MAIN + DEFECT}),
    "drawing-file": Wrong("graph -o nowhere/plan.html", 74),
    "plan-file": Wrong("plan -o nowhere/plan.json", 74),
    "config-file": Wrong("up", 74, {"main.py": MAIN, ".flyte": ""}),
}

STEP = StepFailure("pip: a==1", "exit code: 1", 1, ("No solution found",), ("one", "two"), "look at it", "main.py:12")
BUSY = StepFailure("publishing r.example/a:1", "429 Too Many Requests", None, (), ("one",), may_pass=True)
RAISED: dict[str, tuple[FlytebuildError, int]] = {
    "build-failed": (BuildError([STEP], manifests={"r.example/b:1": "sha256:1"}, failed=2), 1),
    "build-may-pass": (BuildError([BUSY], manifests={}, failed=1), 75),
    "changed-meanwhile": (SourceChangedError("data/x"), 75),
    "run-failed": (
        RunError(
            "Run `r1` failed in `env.main`: ValueError: no", hint="its logs are at …", details="  main.py:3 in main"
        ),
        1,
    ),
    "registry-refuses": (RegistryUnavailableError("`ghcr.io` refuses access", hint="`docker login ghcr.io`"), 69),
    "control-plane": (ControlPlaneError("The control plane does not answer"), 69),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """The exit code and the whole transcript of each case."""
    home, calls, masks = tmp_path_factory.mktemp("home"), [], []
    with registry() as (host, objects):
        publish(objects, "acme/base", "1", "amd64")
        publish(objects, "astral-sh/uv", "0.13.4", "amd64")
        usual = {"FLYTEBUILD_PLATFORMS": "linux/amd64", "FLYTEBUILD_MIRRORS": f"ghcr.io={host}"}
        for name, case in CASES.items():
            folder = tmp_path_factory.mktemp(name)
            for file, text in case.files.items():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).write_text(text)
            calls.append(Call(folder, shlex.split(case.command), usual | case.environ))
            masks.append(
                Mask(
                    {
                        str(folder): "/project",
                        str(home): "/home/me",
                        host: "mirror.test",
                        "All connection attempts failed": "…",
                    }
                )
            )
        ended = zip(CASES, masks, each(calls, home), strict=True)
        return {name: (said.code, mask.over(said.transcript)) for name, mask, said in ended}


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_told_with_what_to_do(name: str, told: dict[str, tuple[int, str]], snapshots: Snapshots) -> None:
    code, text = told[name]
    assert code == CASES[name].code, text
    assert "[stdout]" not in text
    assert "error: " in text
    snapshots.compare(f"errors/{name}.txt", text)


@pytest.mark.parametrize("name", RAISED)
def test_what_takes_an_engine_to_go_wrong(name: str, snapshots: Snapshots) -> None:
    error, code = RAISED[name]
    assert error.exit_code == code
    with redirect_stderr(io.StringIO()) as text:
        print_error(error)
    snapshots.compare(f"errors/{name}.txt", text.getvalue() + f"[exit code {code}]\n")


def test_there_is_no_other(snapshots: Snapshots) -> None:
    snapshots.are_exactly("errors", {f"{name}.txt" for name in (*CASES, *RAISED)})
