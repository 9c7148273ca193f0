"""A folder of workflows of every kind, some of which fail: each failure is told, and hides nothing of the others."""

import json
from pathlib import Path

import pytest

from tests.cli.calls import Call, Told, each

BASE = 'flyte.Image.from_base("docker.io/library/thing:1")'
"""An image that is used as it is: nobody has to be asked about it."""

FINE = {
    "apps/served.py": f"""
import flyte.app
app = flyte.app.AppEnvironment(name="served", image={BASE}, args="serve", port=8080)
""",
    "basics/guarded.py": f"""
import flyte
env = flyte.TaskEnvironment(name="guarded", image={BASE})

@env.task
async def main(x: int = 3) -> int:
    return x

if __name__ == "__main__":
    flyte.init_from_config()
    print(flyte.run(main).url)
""",
    "basics/reads_its_surroundings.py": f"""
import os
from pathlib import Path
import flyte
NOTES = (Path(__file__).parent / "notes.txt").read_text()
env = flyte.TaskEnvironment(name="reads", image={BASE}, env_vars={{"MODEL": os.getenv("MODEL", NOTES.strip())}})
""",
    "basics/notes.txt": "small\n",
    "basics/leaves.py": f"""
import os
import flyte
os.chdir("/")
env = flyte.TaskEnvironment(name="leaves", image={BASE})
""",
    "packages/__init__.py": "",
    "packages/relative/__init__.py": "",
    "packages/relative/shared.py": f"""
import flyte
env = flyte.TaskEnvironment(name="shared", image={BASE})
""",
    "packages/relative/uses.py": f"""
import flyte
from .shared import env as shared
env = flyte.TaskEnvironment(name="uses", image={BASE}, depends_on=[shared])
""",
    "project/src/project/__init__.py": "",
    "project/src/project/helper.py": "NAME = 'laid-out'\n",
    "project/src/project/flow.py": f"""
import flyte
from project.helper import NAME
env = flyte.TaskEnvironment(name=NAME, image={BASE})
""",
    "models/needs_a_package.py": f"""
import absent_torch as torch
import flyte
env = flyte.TaskEnvironment(name="needs", image={BASE})

@env.task
async def fit(steps: int) -> float:
    return float(torch.zeros(steps).sum())
""",
    "book/flow.ipynb": '{"cells": [{"cell_type": "code", "source": ["import flyte"]}]}',
}

BROKEN = {
    "broken/raises.py": "import flyte\nenv = flyte.TaskEnvironment(name='raises')\nraise RuntimeError('no GPU here')\n",
    "broken/ends.py": "import flyte, sys\nsys.exit('set MODEL')\n",
    "broken/wants_a_variable.py": "import os\nimport flyte\nKEY = os.environ['NO_SUCH_KEY_HERE']\n",
    "broken/wants_a_file.py": "import flyte\nopen('/no/such/file').read()\n",
    "broken/with.dot.py": "import flyte\n",
    "broken/is_no_python.py": "import flyte\nprint 'hello'\n",
    "broken/made_of_a_stand_in.py": f"""
import absent_models
import flyte
env = flyte.TaskEnvironment(name="made_of", image={BASE}, env_vars={{"MODEL": absent_models.DEFAULT}})
""",
    "broken/twice.py": f"import flyte\nenv = flyte.TaskEnvironment(name='guarded', image={BASE})\n",
    "broken/twice_used.py": f"""
import flyte
from broken.twice import env
user = flyte.TaskEnvironment(name="twice_used", image={BASE}, depends_on=[env])
""",
    "broken/turns.py": f"""
import flyte
a = flyte.TaskEnvironment(name="turns_a", image={BASE})
b = flyte.TaskEnvironment(name="turns_b", image={BASE}, depends_on=[a])
a.add_dependency(b)
""",
    "broken/no_secret.py": """
import flyte
image = flyte.Image.from_debian_base().with_apt_packages("vim", secret_mounts=["/tmp/secret"])
env = flyte.TaskEnvironment(name="no_secret", image=image)
""",
    "broken/other_version.py": "import flyte\nfrom flyte.app.extras import NoSuchEnvironment\n",
    "broken/no_image.py": """
import flyte
image = flyte.Image.from_debian_base().with_requirements("no-such-requirements.txt")
env = flyte.TaskEnvironment(name="no_image", image=image)
user = flyte.TaskEnvironment(name="no_image_used", image="auto", depends_on=[env])
""",
}

TOLD = (
    "`broken/raises.py` fails to import: RuntimeError: no GPU here",
    "`broken/ends.py` fails to import: SystemExit: set MODEL",
    "`broken/wants_a_variable.py` fails to import: KeyError: 'NO_SUCH_KEY_HERE'",
    "`broken/wants_a_file.py` fails to import: FileNotFoundError:",
    "`broken/with.dot.py` cannot be imported: the name of a module has no dot in it",
    "`broken/is_no_python.py` fails to import: SyntaxError:",
    "Environment `made_of` (broken/made_of_a_stand_in.py:4) is defined with `absent_models.DEFAULT`",
    "Environment `guarded` is defined in `basics/guarded.py:3` and in `broken/twice.py:2`",
    "`depends_on` forms a cycle: turns_a (broken/turns.py:3)",
    "the secret `/tmp/secret` can be no variable of a step",
    "`broken/other_version.py` fails to import: ImportError: cannot import name 'NoSuchEnvironment'",
    "environment `no_image` (broken/no_image.py:3): file `no-such-requirements.txt` does not exist",
)
GOOD = {"served", "guarded", "reads", "leaves", "shared", "uses", "laid-out", "needs"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workflows")
    for name, text in {**FINE, **BROKEN}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


COMMANDS: dict[str, tuple[str, ...]] = {
    "whole": ("plan", "--json"),
    "elsewhere": ("plan", "--for", "uses", "--json"),
    "raises": ("plan", "--for", "raises"),
    "its dependency": ("plan", "--for", "twice_used"),
    "its name": ("plan", "--for", "guarded"),
    "its image": ("plan", "--for", "no_image_used"),
    "graph": ("graph", "--format", "dot"),
    "a graph": ("graph", "--for", "uses"),
    "check": ("check",),
    "a check": ("check", "--for", "uses"),
    "a size": ("size", "--for", "uses"),
    "explain": ("explain", "uses"),
    "build": ("build",),
    "prune": ("prune",),
}


@pytest.fixture(scope="module")
def done(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """What each command told."""
    environ = {"FLYTEBUILD_PLATFORMS": "linux/amd64"}
    calls = [Call(tree, arguments, environ) for arguments in COMMANDS.values()]
    return dict(zip(COMMANDS, each(calls, tmp_path_factory.mktemp("home")), strict=True))


def test_a_module_that_talks_to_a_cluster_when_it_is_imported(tmp_path: Path) -> None:
    (tmp_path / "starts_at_once.py").write_text("import flyte\nflyte.init_from_config('/no/such/config.yaml')\n")
    (tmp_path / "waits.py").write_text(f"import flyte\nenv = flyte.TaskEnvironment(name='waits', image={BASE})\n")
    (told,) = each([Call(tmp_path, ["check"])], tmp_path / "home")
    assert told.code == 65
    assert "1 environment" in told.out
    assert "error: `starts_at_once.py` fails to import: InitializationError" in told.err


def test_a_plan_of_what_can_be_planned_and_every_failure(done: dict[str, Told]) -> None:
    whole = done["whole"]
    assert whole.code == 65, whole.err
    document = json.loads(whole.out)
    assert {item["name"] for item in document["environments"]} == GOOD
    messages = [item["message"] for item in document["problems"]]
    for told in TOLD:
        assert sum(told in message for message in messages) == 1, (told, messages)
        assert told in whole.err
    assert len(messages) == len(TOLD)
    assert f"error: {len(TOLD)} files or environments cannot be used" in whole.err
    assert "Traceback" not in whole.err


def test_what_is_elsewhere_stops_nobody_who_asks_for_something(done: dict[str, Told]) -> None:
    told = done["elsewhere"]
    assert told.code == 0, told.err
    assert [item["name"] for item in json.loads(told.out)["environments"]] == ["shared", "uses"]
    assert "left out: " in told.err


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("raises", "`broken/raises.py` fails to import"),
        ("its dependency", "Environment `guarded` is defined in"),
        ("its name", "Environment `guarded` is defined in"),
        ("its image", "does not exist"),
    ],
)
def test_what_is_asked_for_and_fails_is_an_error(done: dict[str, Told], what: str, told: str) -> None:
    assert (done[what].code, done[what].out) == (65, "")
    assert told in done[what].err


@pytest.mark.parametrize(
    ("what", "code", "shown"),
    [
        ("graph", 65, "laid-out"),
        ("a graph", 0, "env uses"),
        ("check", 65, "8 environments"),
        ("a check", 0, "2 environments"),
        ("a size", 0, "0 images"),
        ("explain", 0, "used as it is"),
        ("build", 65, ""),
        ("prune", 65, ""),
    ],
)
def test_other_commands_show_what_they_can(done: dict[str, Told], what: str, code: int, shown: str) -> None:
    told = done[what]
    assert told.code == code, told.err
    assert shown in told.out
    assert bool(told.out) == bool(shown)
