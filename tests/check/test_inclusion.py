"""Rule `missing-package`: what modules import and images lack. The packages are those of the tests' own environment."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from flytebuild.check import distributions
from flytebuild.check.imports import Modules
from flytebuild.check.source import Sources
from flytebuild.spec.layers import Pin
from tests.check.project import examined, said, text_of

HAS = """
import flyte
{imports}
tool_env = flyte.TaskEnvironment(
    name="tool", image=flyte.Image.from_debian_base(name="tool"){layers}
)

@tool_env.task
def use(x: int = 1) -> int:
    {body}
    return x
"""
CALLER = """
import flyte
from parts.tool import tool_env, use

env = flyte.TaskEnvironment(
    name="env", depends_on=[tool_env], image=flyte.Image.from_debian_base(name="env"){layers}
)

@env.task
def main(x: int = 1) -> int:
    return use(x)
"""
HYPOTHESIS = '.with_pip_packages("hypothesis==6.100")'


def project(
    folder: Path,
    *,
    imports: str = "",
    tool: str = "",
    caller: str = "",
    body: str = "pass",
    pins: Mapping[str, Sequence[Pin]] | None = None,
) -> list[str]:
    files = {
        "parts__tool": HAS.format(imports=imports, layers=tool, body=body),
        "main": CALLER.format(layers=caller),
        "requirements.txt": "hypothesis==6.100 \\\n  --hash=sha256:0\n# trustme\n-r other.txt\n",
        "other.txt": "trustme\n",
    }
    return said(examined(folder, pins=pins, **files), "missing-package", folder)


def test_a_package_that_only_the_called_environment_has(tmp_path: Path) -> None:
    assert project(tmp_path, imports="import hypothesis.strategies", tool=HYPOTHESIS) == [
        "error parts/tool.py:3: The image of `env` lacks `hypothesis.strategies`, which the modules of its tasks "
        "import; that of `tool` has it"
    ]


def test_the_line_to_add_is_the_other_environment_s_requirement(tmp_path: Path) -> None:
    files = {
        "parts__tool": HAS.format(imports="import hypothesis", layers=HYPOTHESIS, body="pass"),
        "main": CALLER.format(layers=""),
    }
    (finding,) = [item for item in examined(tmp_path, **files) if item.rule == "missing-package"]
    assert finding.hint == (
        f'add `.with_pip_packages("hypothesis==6.100")` to the image of `env` ({tmp_path}/main.py:5)'
    )


@pytest.mark.parametrize(
    "imports",
    [
        "import json, os.path, flyte.errors",
        "import parts.beside\nfrom parts import beside\nfrom .beside import value",
        "import pydantic, google.protobuf.message",
        "try:\n    import hypothesis\nexcept ImportError:\n    hypothesis = None",
        "import contextlib\nwith contextlib.suppress(ImportError):\n    import hypothesis",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import hypothesis",
        "if __name__ == '__main__':\n    import hypothesis",
        "def later():\n    import hypothesis",
    ],
)
def test_what_is_there_or_need_not_be_is_no_finding(tmp_path: Path, imports: str) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "beside.py").write_text("value = 1\n")
    assert project(tmp_path, imports=imports) == []


@pytest.mark.parametrize(
    "layers",
    [
        HYPOTHESIS,
        '.with_pip_packages("Hypothesis[cli]>=6")',
        '.with_requirements("requirements.txt")',
        '.with_source_folder(__import__("pathlib").Path("vendored"))',
    ],
)
def test_every_way_that_it_may_come(tmp_path: Path, layers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vendored" / "hypothesis").mkdir(parents=True)
    (tmp_path / "vendored" / "hypothesis" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    assert project(tmp_path, imports="import hypothesis", tool=layers, caller=layers) == []


def test_what_comes_with_another_package_is_there(tmp_path: Path) -> None:
    layers = '.with_pip_packages("trustme")'
    assert project(tmp_path, imports="import cryptography.x509", tool=layers, caller=layers) == []


def test_a_task_s_own_imports_count_in_its_own_image(tmp_path: Path) -> None:
    assert project(tmp_path, body="import hypothesis") == [
        "error parts/tool.py:10: The image of `tool` lacks `hypothesis`, which a task imports when it runs"
    ]
    assert project(tmp_path / "b", body="import hypothesis", tool=HYPOTHESIS) == []
    assert project(tmp_path / "c", body="if x > 9: import hypothesis") == []
    helper = "def helper():\n    import hypothesis"
    assert project(tmp_path / "d", imports=helper, body="if x > 9: helper()") == []


@pytest.mark.parametrize(
    ("layers", "why"),
    [
        ('.with_commands(["pip install everything"])', "what a command installs is not known (main.py:6)"),
        ('.with_pip_packages("nobody-has-this-here")', "what `nobody-has-this-here` needs is not known here"),
        ('.with_pip_packages("git+https://example.com/x.git")', "`git+https://example.com/x.git` names no package"),
    ],
)
def test_what_cannot_be_known_is_said(tmp_path: Path, layers: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert project(tmp_path, imports="import hypothesis, trustme", tool=HYPOTHESIS, caller=layers)[-1] == (
        f"unknown parts/tool.py:3: Whether the image of `env` has `hypothesis`, `trustme` is not known: {why}"
    )


def test_a_package_that_nobody_has(tmp_path: Path) -> None:
    """What this machine lacks comes from none of what it has."""
    assert project(tmp_path, body="import nobody_has_this") == [
        "error parts/tool.py:10: The image of `tool` lacks `nobody_has_this`, which a task imports when it runs"
    ]


def test_a_package_that_is_only_called_like_the_module_is_proposed_as_such(tmp_path: Path) -> None:
    files = {
        "parts__tool": HAS.format(imports="", layers="", body="import nobody_has_this, slugify"),
        "main": CALLER.format(layers=""),
    }
    found = [item for item in examined(tmp_path, **files) if item.rule == "missing-package"]
    hints = {item.modules[0]: item.hint for item in found if item.environment == "tool"}
    where = f"to the image of `tool` ({tmp_path}/parts/tool.py:4)"
    assert hints == {
        "nobody_has_this": f'add `.with_pip_packages("nobody_has_this")` {where}; or what brings `nobody_has_this`, '
        "if that is called otherwise",
        "slugify": f'add `.with_pip_packages("python-slugify")` {where}',
    }


UV_LOCK = """
version = 1
requires-python = ">=3.10"

[[package]]
name = "user"
version = "1"
source = { virtual = "." }
dependencies = [
    { name = "first" },
    { name = "trustme", marker = "sys_platform == 'win32'" },
]

[package.optional-dependencies]
plot = [{ name = "attrs" }]

[package.dev-dependencies]
dev = [{ name = "pytest" }]

[[package]]
name = "first"
version = "1"
source = { registry = "https://pypi.org/simple" }
dependencies = [{ name = "hypothesis" }]

"""
for name in ("hypothesis", "trustme", "pytest", "attrs"):
    UV_LOCK += f'[[package]]\nname = "{name}"\nversion = "1"\nsource = {{ registry = "https://pypi.org/simple" }}\n'
MANIFEST = '[project]\nname = "user"\nversion = "1"\ndependencies = ["first", "trustme"]\n'


@pytest.mark.parametrize(
    ("arguments", "lacking"),
    [
        ("", ["trustme"]),
        ("--no-dev --extra=plot", ["trustme", "pytest"]),
        ("--no-default-groups --all-extras", ["trustme", "pytest"]),
        ("--no-default-groups --group dev --frozen", ["trustme"]),
        ("--no-default-groups --dev", ["trustme"]),
        ("--all-groups --no-group dev", ["trustme", "pytest"]),
        ("--package user", []),
    ],
)
def test_a_project_s_lock_has_everything(tmp_path: Path, arguments: str, lacking: list[str]) -> None:
    """What `uv sync` takes of it; where it cannot be told which that is, all that it names."""
    tmp_path.joinpath("uv.lock").write_text(UV_LOCK)
    tmp_path.joinpath("pyproject.toml").write_text(MANIFEST)
    tail = f"extra_args='{arguments}'" if arguments else ""
    layers = f".with_uv_project('{tmp_path}/pyproject.toml', uvlock='{tmp_path}/uv.lock', {tail})"
    found = project(tmp_path, body="import hypothesis, trustme, pytest", tool=layers, caller=layers)
    assert [line.partition("lacks `")[2].partition("`")[0] for line in found] == lacking


def test_what_a_project_s_lock_does_not_have(tmp_path: Path) -> None:
    tmp_path.joinpath("uv.lock").write_text(UV_LOCK)
    tmp_path.joinpath("pyproject.toml").write_text(MANIFEST)
    layers = f'.with_uv_project("{tmp_path}/pyproject.toml", uvlock="{tmp_path}/uv.lock")'
    assert [item[:5] for item in project(tmp_path / "a", imports="import trustme", tool=layers, caller=layers)] == [
        "error",
        "error",
    ]
    assert project(tmp_path / "b", body="import nobody_has_this", tool=layers) == [
        "unknown parts/tool.py:10: Whether the image of `tool` has `nobody_has_this` is not known: "
        "which modules `first` brings is not known here"
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# This file was autogenerated by uv via the following command:\nstrange-thing==1\nalong==2", "error trustme"),
        ("strange-thing==1 --hash=sha256:0\nalong==2 \\\n  --hash=sha256:1 --hash=sha256:2\n", "error trustme"),
        ("strange-thing==1 --hash=sha256:0\ntrustme==2 ; sys_platform == 'win32' --hash=sha256:0", "error trustme"),
        ("strange-thing==1\nalong==2", "unknown trustme"),
        ("# This file was autogenerated by uv\nstrange-thing==1\nalong>=2", "unknown trustme"),
    ],
)
def test_a_compiled_requirements_file_has_all_that_its_packages_need(tmp_path: Path, text: str, said: str) -> None:
    tmp_path.joinpath("locked.txt").write_text(text)
    found = project(tmp_path, body="import trustme", tool=f'.with_requirements("{tmp_path}/locked.txt")')
    assert [f"{line.partition(' ')[0]} {line.split('`')[3]}" for line in found] == [said]


def wheel(name: str, *modules: str) -> Pin:
    return Pin(name, "1", f"{name}-1-py3-none-any.whl", "1" * 64, modules=modules)


STRANGE = '.with_pip_packages("strange-thing")'
"""What this machine has nothing of."""


def test_what_a_lock_installs_is_certain(tmp_path: Path) -> None:
    """A package that comes along is there, one that does not is not: whatever this machine has or knows."""
    pins = [wheel("strange-thing", "strange", "deep.er.strange"), wheel("comes-along", "along", "_along")]
    lines = "import strange.inner, along, deep.er\nimport hypothesis, nobody_has_this\nimport deep.other"
    locked = {"tool": pins, "env": pins[:1]}
    assert project(tmp_path / "a", imports=lines, tool=STRANGE, caller=STRANGE, pins=locked) == [
        f"error parts/tool.py:{line}: The image of `{name}` lacks `{module}`, which the modules of its tasks "
        f"import{more}"
        for line, name, module, more in (
            (4, "tool", "hypothesis", ""),
            (4, "tool", "nobody_has_this", ""),
            (5, "tool", "deep.other", ""),
            (3, "env", "along", "; that of `tool` has it"),
            (4, "env", "hypothesis", ""),
            (4, "env", "nobody_has_this", ""),
            (5, "env", "deep.other", ""),
        )
    ]
    assert project(tmp_path / "b", imports="import along", tool=STRANGE) == [
        "error parts/tool.py:3: The image of `env` lacks `along`, which the modules of its tasks import",
        "unknown parts/tool.py:3: Whether the image of `tool` has `along` is not known: "
        "what `strange-thing` needs is not known here",
    ]


@pytest.mark.parametrize(
    ("layers", "is_lockable"),
    [
        (STRANGE, True),
        (STRANGE + '.with_commands(["pip install x"])', False),
        (STRANGE + '.with_pip_packages("git+https://e.example/x")', False),
    ],
)
def test_a_lock_is_proposed_where_it_makes_all_known(tmp_path: Path, layers: str, is_lockable: bool) -> None:
    files = {
        "parts__tool": HAS.format(imports="", layers=layers, body="import along"),
        "main": CALLER.format(layers=""),
    }
    (finding,) = [item for item in examined(tmp_path, **files) if item.rule == "missing-package"]
    told = "; with `flytebuild lock` it is known" if is_lockable else ""
    assert finding.hint == f"`flytebuild check --in-image --for tool` finds out{told}"


def test_a_locked_wheel_s_modules_count_more_than_its_name(tmp_path: Path) -> None:
    """Nothing is called `hypothesis` in it; where its modules are not known, it may bring what no other does."""
    named = {"tool": [wheel("hypothesis", "other")]}
    found = project(tmp_path / "a", imports="import hypothesis", tool=HYPOTHESIS, pins=named)
    assert [line.partition(":")[0] for line in found] == ["error parts/tool.py", "error parts/tool.py"]
    unnamed = {"tool": [Pin("strange-thing", "1", "s.whl", "1" * 64)]}
    assert project(tmp_path / "b", body="import nobody_has_this", tool=STRANGE, pins=unnamed) == [
        "unknown parts/tool.py:10: Whether the image of `tool` has `nobody_has_this` is not known: "
        "which modules `strange-thing` brings is not known here"
    ]


def test_the_line_to_add_names_what_brings_the_module_where_a_lock_knows_it(tmp_path: Path) -> None:
    files = {
        "parts__tool": HAS.format(imports="import along", layers=STRANGE, body="pass"),
        "main": CALLER.format(layers=""),
    }
    pins = {"tool": [wheel("strange-thing", "strange"), wheel("comes-along", "along")]}
    (finding,) = [item for item in examined(tmp_path, pins=pins, **files) if item.rule == "missing-package"]
    assert finding.hint == f'add `.with_pip_packages("comes-along")` to the image of `env` ({tmp_path}/main.py:5)'


def test_imports_of_packages_and_relative_ones(tmp_path: Path) -> None:
    files = {
        "main.py": "import a.b.c\nfrom a import d\nimport space.inner\n",
        "a/__init__.py": "import first\n",
        "a/b/__init__.py": "from .. import d\nfrom ..e import x\n",
        "a/b/c.py": "import second.part\nimport second\n",
        "a/d.py": "import third\n",
        "a/e.py": "from fourth import x\n",
        "space/inner.py": "import fifth\nimport json\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = Modules((str(tmp_path),), Sources(text_of)).closure([str(tmp_path / "main.py")])
    assert sorted(item.module for item in found) == ["fifth", "first", "fourth", "second", "second.part", "third"]


def test_modules_by_what_brings_them() -> None:
    assert distributions.providers("google.protobuf.message") == {"protobuf"}
    assert distributions.providers("google.nothing") >= {"protobuf"}
    assert distributions.providers("_pytest.config") == {"pytest"}
    assert distributions.providers("cv2") == {"opencv-python"}
    assert distributions.providers("nobody_has_this_here") == set()
    found, unknown = distributions.closure({"httpx": frozenset(), "nobody-has-this-here": frozenset()})
    assert {"httpcore", "certifi"} <= found
    assert unknown == {"nobody-has-this-here"}


@pytest.mark.parametrize(
    ("module", "found"),
    [
        ("flyteplugins.absent.task", {"flyteplugins-absent"}),
        ("flyteplugins", set()),
        ("google.cloud.absent", {"google-cloud-absent"}),
    ],
)
def test_distributions_of_a_namespace_are_called_as_their_modules(module: str, found: set[str]) -> None:
    assert distributions.providers(module) == found
