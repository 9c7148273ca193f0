"""Packages that this machine lacks: planned without them where only tasks use them, and never taken for a value."""

from __future__ import annotations

import importlib
import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from flytebuild.authoring.environments import Definitions
from flytebuild.authoring.loader import load
from flytebuild.authoring.standins import refuse_stand_in_values
from flytebuild.errors import DefinitionError, LoadError
from flytebuild.events import Event, Notice

HEAD = """
import flyte
import absent_torch as torch
import absent_torch.nn as nn
import absent_numpy as np
from absent_torch.utils.data import DataLoader, Dataset
"""
ENVIRONMENT = """
env = flyte.TaskEnvironment("train", image=flyte.Image.from_debian_base().with_pip_packages("torch"))
"""


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is loaded here is found by nobody afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))


def loaded(folder: Path, text: str, *, stand_in: bool = True) -> tuple[Definitions, list[str]]:
    """What a file defines, and what was said of it."""
    file = folder / f"{folder.name}_main.py"
    file.write_text(text)
    said: list[Event] = []
    definitions = load([file], said.append, stand_in=stand_in)
    return definitions, [event.message for event in said if isinstance(event, Notice)]


USES: dict[str, str] = {
    "values at the top": "DEVICE = torch.device('cuda:0')\nTYPES = [np.float32, torch.zeros(3) + 1, -torch.ones(1)]",
    "a class of it": "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\nNET = Net()",
    "two of them": "class Data(Dataset, nn.Module):\n    size: np.ndarray",
    "decorators": "@torch.no_grad()\n@torch.compile\ndef step(x):\n    return x\nassert step(7) == 7",
    "with": "with torch.device('meta') as device:\n    MODEL = nn.Linear(1, 2)",
    "annotations": "@env.task\nasync def fit(x: np.ndarray | None, y: torch.Tensor) -> DataLoader:\n    return y",
    "generics": "@env.task\nasync def fit(x: list[np.ndarray], y: DataLoader[int]) -> list[nn.Module]:\n    return []",
    "defaults": "def f(x=torch.float32, *, y=np.nan):\n    return x",
    "in a try": "try:\n    import absent_cupy as cupy\nexcept ImportError:\n    cupy = None",
    "fields": "import pydantic\nclass Batch(pydantic.BaseModel, arbitrary_types_allowed=True):\n    x: np.ndarray",
    "registries": "HANDLERS = {np.ndarray: len, torch.Tensor: len}\ntorch.backends.cudnn.benchmark = True",
}


@pytest.mark.parametrize("use", USES)
def test_what_only_tasks_use_is_enough_to_plan(use: str, tmp_path: Path) -> None:
    definitions, said = loaded(tmp_path, HEAD + ENVIRONMENT + USES[use])
    assert list(definitions.environments) == ["train"]
    assert said[:2] == [
        f"`{name}` is not installed here; `{tmp_path / f'{tmp_path.name}_main.py'}` is read without it"
        for name in ("absent_torch", "absent_numpy")
    ]
    assert not [name for name in sys.modules if name.startswith("absent_")], "only while code is loaded"
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("absent_torch")


VALUES = {
    "a text": "NAME = f'torch-{torch.version}'",
    "a text in other words": "NAME = str(torch.version)",
    "a truth value": "DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'",
    "a number": "N = int(torch.cuda.device_count())",
    "a version": "OLD = np.__version__ < '2'",
    "items": "N = [gpu for gpu in torch.cuda.devices()]",
    "a length": "N = len(torch.cuda.devices())",
    "a path": "import os\nP = os.path.join(torch.home, 'x')",
}


@pytest.mark.parametrize("use", VALUES)
def test_a_value_that_nobody_knows_is_an_error_with_its_line(use: str, tmp_path: Path) -> None:
    line = (HEAD + VALUES[use]).count("\n") + 1
    with pytest.raises(LoadError, match=r"needs `absent_\w+\.[\w.()]+` to be read, and `absent_\w+` is not") as caught:
        loaded(tmp_path, HEAD + VALUES[use] + ENVIRONMENT)
    assert f'_main.py", line {line}, in <module>' in caught.value.traceback
    assert caught.value.hint is not None
    assert "in tasks alone" in caught.value.hint


DEFINITIONS = {
    "a package": "flyte.TaskEnvironment('train', image=flyte.Image.from_debian_base().with_pip_packages(torch.NAME))",
    "a variable": "flyte.TaskEnvironment('train', env_vars={'X': torch.NAME})",
    "a plugin": "flyte.TaskEnvironment('train', plugin_config=torch.Elastic(nnodes=2)).task(len)",
    "a secret": "flyte.TaskEnvironment('train', secrets=[torch.SECRET])",
}


@pytest.mark.parametrize("what", DEFINITIONS)
def test_no_environment_is_defined_with_a_stand_in(what: str, tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"_main\.py:7") as caught:
        loaded(tmp_path, f"{HEAD}env = {DEFINITIONS[what]}\n")[0].walk()
    assert "`absent_torch` is not installed here" in str(caught.value)


REFUSED = {
    "its name": ("name=torch.NAME", "An environment", "absent_torch.NAME"),
    "what it depends on": ("name='train', depends_on=[torch.env]", "Environment `train`", "absent_torch.env"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_where_the_sdk_refuses_a_stand_in_what_is_lacking_is_said(what: str, tmp_path: Path) -> None:
    given, environment, value = REFUSED[what]
    with pytest.raises(DefinitionError) as caught:
        loaded(tmp_path, f"{HEAD}\nenv = flyte.TaskEnvironment({given})")
    file = tmp_path / f"{tmp_path.name}_main.py"
    expected = f"{environment} ({file}:8) is defined with `{value}`, and `absent_torch` is not installed here"
    assert str(caught.value) == expected


def test_what_fails_names_what_its_own_code_lacks(tmp_path: Path) -> None:
    """Of a folder's files each has its own reasons."""
    (tmp_path / "first.py").write_text(f"{HEAD}{ENVIRONMENT}")
    (tmp_path / "second.py").write_text("import flyte, absent_gpu\nraise ValueError(3)\n")
    (tmp_path / "third.py").write_text("import flyte\nraise ValueError(3)\n")
    hints = [problem.hint or "" for problem in load([tmp_path], stand_in=True).problems]
    assert hints[0].startswith("this machine lacks `absent_gpu`, which may be why")
    assert hints[1].startswith("this is the module's own error")


def test_a_library_that_lacks_a_module_of_its_own_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site-packages"
    site.mkdir()
    (site / "b_library.py").write_text("from absent_torch.nn import Module\n")
    monkeypatch.syspath_prepend(str(site))
    with pytest.raises(LoadError) as caught:
        loaded(tmp_path, "import absent_torch, flyte\ndel __import__('sys').modules['absent_torch']\nimport b_library")
    assert caught.value.hint == "install `absent_torch` on this machine: a library that is installed here needs it"


APP = """
import logging
import absent_torch
import flyte
from fastapi import FastAPI
from flyte.app.extras import FastAPIAppEnvironment

logging.basicConfig(level=logging.DEBUG)
app = FastAPI(title="Add one")
serving = FastAPIAppEnvironment(name="serving", app=app, image=flyte.Image.from_debian_base().with_pip_packages("a==1"))

@app.get("/")
async def root(x: int) -> dict[str, int]:
    return {"result": x + 1}
"""


@pytest.mark.filterwarnings("ignore:Support for class-based `config`")
def test_an_app_is_planned_without_its_framework(tmp_path: Path) -> None:
    """The SDK imports it for the user's code; and what that sets up for its logs is for its own."""
    before = logging.getLogger().level, list(logging.getLogger().handlers)
    definitions, said = loaded(tmp_path, APP)
    assert list(definitions.environments) == ["serving"]
    assert definitions.walk() == ("serving",)
    assert {line.split()[0] for line in said} >= {"`absent_torch`"}
    assert all("main.py` is read without it" in line for line in said)
    assert (logging.getLogger().level, logging.getLogger().handlers) == before


def test_plugins_of_flyte_are_distributions_of_their_own(tmp_path: Path) -> None:
    text = "import flyte\nfrom flyteplugins.absent.task import Config\n"
    with pytest.raises(DefinitionError) as caught:
        loaded(tmp_path, f"{text}env = flyte.TaskEnvironment('train', plugin_config=Config())\n")[0].walk()
    assert caught.value.hint == "install `flyteplugins-absent` on this machine, or write the value itself"


def test_without_stand_ins_an_import_fails_as_in_python(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="ModuleNotFoundError: No module named 'absent_torch'"):
        loaded(tmp_path, HEAD + ENVIRONMENT, stand_in=False)


def test_the_user_s_own_modules_are_not_stood_in_for(tmp_path: Path) -> None:
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("")
    with pytest.raises(LoadError, match=r"No module named 'mine\.helprs'"):
        loaded(tmp_path, "import mine.helprs\n" + ENVIRONMENT)


OTHERWISE = "\nexcept ImportError:\n    gpu = None"
ANSWERED = {
    "except": "try:\n    import absent_gpu as gpu" + OTHERWISE,
    "except, among others": "try:\n    import absent_gpu\nexcept (OSError, ModuleNotFoundError):\n    gpu = None",
    "suppress": "import contextlib\ngpu = None\nwith contextlib.suppress(ImportError):\n    import absent_gpu as gpu",
    "in a function": "def find():\n    import absent_gpu\ntry:\n    gpu = find()" + OTHERWISE,
    "in another module": "try:\n    from {name}_gpu import gpu" + OTHERWISE,
}


@pytest.mark.parametrize("how", ANSWERED)
def test_code_that_does_without_a_package_is_what_it_is_without(how: str, tmp_path: Path) -> None:
    """An image may depend on it, and must be the one that a run finds, which stands in for nothing."""
    (tmp_path / f"{tmp_path.name}_gpu.py").write_text("from absent_gpu import gpu\n")
    text = ANSWERED[how].format(name=tmp_path.name)
    _, said = loaded(tmp_path, f"import flyte\n{text}\nassert gpu is None\n{ENVIRONMENT}")
    assert said == []


def test_to_complain_is_not_to_do_without(tmp_path: Path) -> None:
    text = (
        "try:\n    import absent_gpu\nexcept ImportError as error:\n    raise RuntimeError('install it') from error\n"
    )
    _, said = loaded(tmp_path, "import flyte\n" + text + ENVIRONMENT)
    assert [line.split()[0] for line in said] == ["`absent_gpu`"]


def test_libraries_see_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site-packages"
    site.mkdir()
    (site / "a_library.py").write_text("try:\n    import absent_extra\nexcept ImportError:\n    absent_extra = None\n")
    monkeypatch.syspath_prepend(str(site))
    _, said = loaded(tmp_path, "import flyte, a_library\nassert a_library.absent_extra is None\n" + ENVIRONMENT)
    assert said == []


def test_asking_whether_something_is_installed_is_answered_truly(tmp_path: Path) -> None:
    text = "import flyte, importlib.util\nassert importlib.util.find_spec('absent_torch') is None\n" + ENVIRONMENT
    _, said = loaded(tmp_path, text)
    assert said == []


FIELDS = """
import dataclasses, pydantic
class Batch(pydantic.BaseModel, arbitrary_types_allowed=True):
    x: np.ndarray | None = None
@dataclasses.dataclass
class Row:
    x: "np.ndarray"
"""
VALUES_OF_A_RUN = {
    "y: np.ndarray": "The input `y`",
    "y: list[np.ndarray]": "The input `y`",
    "y: dict[str, np.ndarray] | None = None": "The input `y`",
    "y: float = np.nan": "The input `y`",
    "y: int) -> tuple[int, np.ndarray": "The output `o1`",
    "y: Batch": "The input `y`",
    "y: list[Row]": "The input `y`",
}


@pytest.mark.parametrize("inputs", VALUES_OF_A_RUN)
def test_a_run_does_not_begin_with_values_of_a_stand_in(inputs: str, tmp_path: Path) -> None:
    returns = "]" if "->" in inputs else ") -> int"
    task = f"@env.task\nasync def fit({inputs}{returns}:\n    ..."
    main = "@env.task\nasync def main(x: list[int]) -> str:\n    ..."
    definitions, _ = loaded(tmp_path, f"{HEAD}{ENVIRONMENT}{FIELDS}{task}\n{main}\n")
    refuse_stand_in_values(definitions.task("main"))
    with pytest.raises(DefinitionError) as caught:
        refuse_stand_in_values(definitions.task("fit"))
    assert str(caught.value).startswith(f"{VALUES_OF_A_RUN[inputs]} of `train.fit` is made of `absent_numpy.")


def test_tasks_keep_their_interfaces(tmp_path: Path) -> None:
    text = "@env.task\n@torch.no_grad()\nasync def fit(x: int, y: np.ndarray) -> str:\n    return ''"
    definitions, _ = loaded(tmp_path, HEAD + ENVIRONMENT + text)
    (task,) = vars(definitions.environments["train"])["_tasks"].values()
    inputs: dict[str, Any] = task.native_interface.inputs
    assert list(inputs) == ["x", "y"]
    assert inputs["x"][0] is int
