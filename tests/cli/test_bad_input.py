"""What a user may get wrong: one sentence that names the layer, its environment and its line, a hint, exit code 65."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cli.calls import Call, each
from tests.loopback import publish, registry

START = """\
import flyte
from pathlib import Path
here = Path(__file__).parent
base = flyte.Image.from_debian_base(python_version=(3, 11))
"""
END = """
env = flyte.TaskEnvironment(name="env", image=image)
"""
PROJECT = '[project]\nname = "p"\nversion = "0"\ndependencies = ["six"]\n'


@dataclass(frozen=True)
class Wrong:
    """What `image = …` is in a file, what lies beside it, and what is told; `HERE` marks the line that is named."""

    code: str
    layer: str
    message: str
    hint: str
    files: Mapping[str, str] = field(default_factory=dict)


CASES = {
    "no requirement": Wrong(
        'image = base.with_pip_packages("pandas=2")  # HERE',
        "`with_pip_packages` layer",
        "`pandas=2` is not a requirement",
        "write it like `name`, `name==1.2`, `name[extra]>=1` or `name @ URL`",
    ),
    "on its own line of a chain": Wrong(
        """image = (
    base
    .with_pip_packages("ruff")
    .with_env_vars({"A": "1"})
    .with_pip_packages("what is this")  # HERE
    .with_apt_packages("git")
)""",
        "`with_pip_packages` layer",
        "`what is this` is not a requirement",
        "write it like",
    ),
    "written in a function": Wrong(
        """def tools(image):
    return image.with_pip_packages("pandas=2")  # HERE
image = tools(base).with_apt_packages("git")""",
        "`with_pip_packages` layer",
        "`pandas=2` is not a requirement",
        "write it like",
    ),
    "a credential": Wrong(
        'image = base.with_pip_packages("a", index_url="https://me:pw@i.example/simple")  # HERE',
        "`with_pip_packages` layer",
        "a URL holds credentials, which would end up in the image's history",
        "set `UV_INDEX_URL` with the credentials in the environment that builds",
    ),
    "no requirements file": Wrong(
        'image = base.with_requirements(here / "requirements.txt")  # HERE',
        "`with_requirements` layer",
        "requirements.txt` does not exist",
        "a relative path starts at the current folder",
    ),
    "no included file": Wrong(
        'image = base.with_requirements("requirements.txt")  # HERE',
        "`with_requirements` layer",
        "dev.txt`, which does not exist",
        "a path here is relative to the file it is in",
        {"requirements.txt": "six\n-r dev.txt\n"},
    ),
    "no source file": Wrong(
        'image = base.with_source_file(here / "data.csv")  # HERE',
        "`with_source_file` layer",
        "data.csv` does not exist",
        "a relative path starts at the current folder",
    ),
    "no source folder": Wrong(
        'image = base.with_source_folder(here / "data")  # HERE',
        "`with_source_folder` layer",
        "data` does not exist",
        "a relative path starts at the current folder",
    ),
    "a file that is none": Wrong(
        "image = base.with_source_file(here)  # HERE",
        "`with_source_file` layer",
        "is not a file",
        "a relative path starts at the current folder",
    ),
    "no ignore file": Wrong(
        'image = base.with_dockerignore(Path("my.dockerignore")).with_pip_packages("a")  # HERE',
        "`with_dockerignore` layer",
        "file `my.dockerignore` does not exist",
        "a relative path starts at the current folder",
    ),
    "a lock of another project": Wrong(
        'image = base.with_uv_project("pyproject.toml")  # HERE',
        "`with_uv_project` layer",
        "`uv.lock` does not belong to `pyproject.toml`: it has no package `p`",
        "run `uv lock` in `.`, or name the right lock",
        {"pyproject.toml": PROJECT, "uv.lock": 'version = 1\n[[package]]\nname = "other"\nversion = "0"\n'},
    ),
    "a Poetry lock of another project": Wrong(
        'image = base.with_poetry_project("pyproject.toml")  # HERE',
        "`with_poetry_project` layer",
        "`poetry.lock` does not belong to `pyproject.toml`: it has no package `six`",
        "run `poetry lock`",
        {"pyproject.toml": PROJECT, "poetry.lock": '[[package]]\nname = "other"\nversion = "0"\n'},
    ),
    "no Poetry lock": Wrong(
        'image = base.with_poetry_project(here / "pyproject.toml")  # HERE',
        "`with_poetry_project` layer",
        "poetry.lock` does not exist",
        "run `poetry lock` in `",
        {"pyproject.toml": PROJECT},
    ),
    "no uv lock": Wrong(
        'image = base.with_uv_project("pyproject.toml", Path("other.lock"))  # HERE',
        "`with_uv_project` layer",
        "file `other.lock` does not exist",
        "run `uv lock` in `.`",
        {"pyproject.toml": PROJECT},
    ),
    "no manifest": Wrong(
        'image = base.with_uv_project("pyproject.toml")  # HERE',
        "`with_uv_project` layer",
        "file `pyproject.toml` does not exist",
        "a relative path starts at the current folder",
    ),
    "a broken manifest": Wrong(
        'image = base.with_uv_project("sub/pyproject.toml")  # HERE',
        "`with_uv_project` layer",
        "`sub/pyproject.toml` is not TOML",
        "mend it at that place",
        {"sub/pyproject.toml": "[project\n"},
    ),
    "a variable's name": Wrong(
        'image = base.with_env_vars({"A=B": "1"})  # HERE',
        "`with_env_vars` layer",
        "`A=B` is not the name of an environment variable",
        "it must not hold `=` or blanks",
    ),
    "a variable's value": Wrong(
        'image = base.with_env_vars({"A": 1})  # HERE',
        "`with_env_vars` layer",
        "the value of `A` is a `int`",
        "write it as a string",
    ),
    "text that no file can hold": Wrong(
        'image = base.with_env_vars({"A": "\\ud800"})  # HERE',
        "`with_env_vars` layer",
        "holds text that is not Unicode",
        "give the file or folder a name in UTF-8, or decode the text",
    ),
    "a command that no file can hold": Wrong(
        'image = base.with_commands(["echo \\udce9"])  # HERE',
        "`with_commands` layer",
        "holds text that is not Unicode",
        "give the file or folder a name in UTF-8, or decode the text",
    ),
    "a folder's name that is no text": Wrong(
        'image = base.with_source_folder(Path("odd\\udce9"))  # HERE',
        "`with_source_folder` layer",
        "holds text that is not Unicode",
        "give the file or folder a name in UTF-8, or decode the text",
        {"odd\udce9/f": ""},
    ),
    "a package that a pixi project takes from far above": Wrong(
        'image = base.with_pixi_project("a/b/pixi.toml")  # HERE',
        "`with_pixi_project` layer",
        "it takes a package from `../../lib`, which would be at `/lib` in the image, among what is not the project's",
        "move the package below the project or beside it",
        {"a/b/pixi.toml": '[pypi-dependencies]\nlib = { path = "../../lib" }\n', "lib/pyproject.toml": "[project]\n"},
    ),
    "an ignore file": Wrong(
        'image = base.with_dockerignore(Path("my.dockerignore")).with_source_folder(here)  # HERE',
        "`with_dockerignore` layer",
        "my.dockerignore:2: the pattern `[a` is malformed",
        "a line that starts with `#` is a comment",
        {"my.dockerignore": "x\n[a\n"},
    ),
    "an ignore file of a Dockerfile": Wrong(
        'image = flyte.Image.from_dockerfile(here / "Dockerfile", "r.example", "x")  # HERE',
        "Dockerfile",
        ".dockerignore:1: the pattern `[a` is malformed",
        "a line that starts with `#` is a comment",
        {"Dockerfile": "FROM a", ".dockerignore": "[a"},
    ),
    "a Dockerfile that starts from nothing": Wrong(
        'image = flyte.Image.from_dockerfile(here / "Dockerfile", "r.example", "x")  # HERE',
        "Dockerfile",
        "the Dockerfile has no `FROM`",
        "start it with the image that is built upon",
        {"Dockerfile": "# nothing"},
    ),
    "a Dockerfile for a frontend that is no image": Wrong(
        'image = flyte.Image.from_dockerfile(here / "Dockerfile", "r.example", "x")  # HERE',
        "Dockerfile",
        "line 1 of the Dockerfile names `Foo`, which is not an image reference",
        "an example of one",
        {"Dockerfile": "# syntax=Foo\nFROM a"},
    ),
    "a project of a script that is not there": Wrong(
        'image = flyte.Image.from_uv_script("s.py", name="x", python_version=(3, 11))  # HERE',
        "`from_uv_script` layer",
        "file `/nowhere/pyproject.toml` does not exist",
        "",
        {"s.py": '# /// script\n# dependencies = ["a @ file:///nowhere"]\n# ///\n'},
    ),
    "an option of RUN": Wrong(
        'image = base.with_commands(["--mount=type=cache,target=/x true"])  # HERE',
        "`with_commands` layer",
        "`--mount=type=cache,target=/x` is an option of a Dockerfile's `RUN`, not a command",
        "use `secret_mounts` for secrets",
    ),
    "the control plane's folder": Wrong(
        "image = base.with_source_folder(here)  # HERE",
        "`with_source_folder` layer",
        "which flytebuild itself writes",
        "leave that out with a line in `.dockerignore`, or take in a smaller folder",
        {"flytebuild.toml": 'home = "var/plane"\n'},
    ),
    "the control plane's folder in the context of a Dockerfile": Wrong(
        'image = flyte.Image.from_dockerfile(here / "Dockerfile", "r.example", "x")  # HERE',
        "Dockerfile",
        "which flytebuild itself writes",
        "leave that out",
        {"flytebuild.toml": 'home = "var/plane"\n', "Dockerfile": "FROM scratch\n"},
    ),
    "a credential in a Dockerfile": Wrong(
        'image = flyte.Image.from_dockerfile(here / "Dockerfile", "r.example", "x")  # HERE',
        "Dockerfile",
        "has a URL with credentials",
        "`RUN --mount=type=secret,id=UV_INDEX_URL`",
        {"Dockerfile": "FROM scratch\nRUN pip install -i https://me:pw@i.example/simple six\n"},
    ),
    "a credential in a comment of a Dockerfile": Wrong(
        'image = flyte.Image.from_dockerfile(here / "Dockerfile", "r.example", "x")  # HERE',
        "Dockerfile",
        "line 1 of ",
        "`RUN --mount=type=secret,id=UV_INDEX_URL`",
        {"Dockerfile": "# https://me:pw@i.example/simple\nFROM scratch\n"},
    ),
    "no script": Wrong(
        'image = flyte.Image.from_uv_script("s.py", name="x")  # HERE',
        "`from_uv_script` layer",
        "file `s.py` does not exist",
        "a relative path starts at the current folder",
    ),
    "a script for another Python": Wrong(
        'image = flyte.Image.from_uv_script("s.py", name="x", python_version=(3, 11))  # HERE',
        "`from_uv_script` layer",
        "`s.py` requires Python `>=3.13`, and the image has 3.11",
        "give `python_version` to `from_uv_script`",
        {"s.py": '# /// script\n# requires-python = ">=3.13"\n# ///\n'},
    ),
    "another Python than the base has": Wrong(
        """other = base.clone(name="x", python_version=(3, 13), extendable=True)  # HERE
image = other.with_pip_packages("a")""",
        "image",
        "Python 3.13 was asked for, and its base `ghcr.io/flyteorg/flyte:py3.11-v",
        "start from `flyte.Image.from_debian_base(python_version=(3, 13))`",
    ),
    "a Python that is text": Wrong(
        'image = base.clone(name="x", python_version="3.11", extendable=True).with_pip_packages("a")  # HERE',
        "image",
        "its `python_version` is `'3.11'`, not a pair of numbers",
        "write it as `(3, 11)`",
    ),
    "a Python that is text, of a constructor": Wrong(
        'image = flyte.Image.from_debian_base(python_version="3.11")  # HERE',
        "image",
        "its `python_version` is `'3.11'`, not a pair of numbers",
        "write it as `(3, 11)`",
    ),
    "a Python of three numbers": Wrong(
        'image = flyte.Image.from_base("r.example/x:1").clone(name="x", python_version=(3, 11, 2))  # HERE',
        "image",
        "its `python_version` is `(3, 11, 2)`, not a pair of numbers",
        "write it as `(3, 11)`",
    ),
    "an unknown platform": Wrong(
        'image = base.clone(platform="linux/s390x").with_pip_packages("a")  # HERE',
        "image",
        "`linux/s390x` is not a platform that Flyte runs on",
        "use one of `linux/amd64`, `linux/arm64`",
    ),
    "no base": Wrong('image = flyte.Image.from_base("")  # HERE', "image", "it has no base image", "empty string"),
    "no configured image": Wrong(
        'image = flyte.Image.from_ref_name("gpu")  # HERE',
        "image",
        "no image is configured under the name `gpu`",
        "image_refs",
    ),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, str]]:
    """Exit code, stdout and stderr of each case."""
    folders = []
    for number, case in enumerate(CASES.values()):
        folder = tmp_path_factory.mktemp(f"case{number}")
        write(folder, {"main.py": START + case.code + END, **case.files})
        folders.append(folder)
    return dict(zip(CASES, plan(*folders), strict=True))


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def plan(*folders: Path, command: str = "plan", **environ: str) -> list[tuple[int, str, str]]:
    """What a command says of `main.py` in each folder."""
    calls = [Call(folder, [*command.split(), "main.py"], environ) for folder in folders]
    return [(told.code, told.out, told.err) for told in each(calls, folders[0].parent)]


@pytest.mark.parametrize("name", CASES)
def test_a_definition_that_cannot_be_honoured(name: str, outcomes: dict[str, tuple[int, str, str]]) -> None:
    case = CASES[name]
    code, out, told = outcomes[name]
    line = next(number for number, text in enumerate((START + case.code).splitlines(), 1) if "HERE" in text)
    assert (code, out) == (65, ""), told
    error, _, hint = told.partition("\n")
    assert error.startswith(f"error: The {case.layer} of environment `env` (main.py:{line}): "), error
    assert case.message in error
    assert not error.endswith(".")
    assert case.hint in hint
    assert hint.startswith("\nhint: ")
    assert "Traceback" not in told
    assert "me:pw" not in told


CONFIG = """
admin:
  endpoint: dns:///127.0.0.1:1
  insecure: true
image:
  builder: flytebuild
task: { org: o, project: p, domain: d }
"""


@pytest.mark.parametrize(
    ("command", "place"),
    [
        (("-c", "from flyte.cli.main import main; main()", "run", "main.py", "f"), "main.py:5"),
        # Nobody asked flytebuild before the layer was written; where the environment is, the SDK knows.
        (("main.py",), "main.py"),
    ],
)
def test_the_place_is_told_by_flyte_s_own_tools_too(tmp_path: Path, command: tuple[str, ...], place: str) -> None:
    code = 'image = base.with_pip_packages("pandas=2")' + END + "@env.task\ndef f() -> None: ...\n"
    code += 'if __name__ == "__main__":\n    flyte.init_from_config()\n    flyte.run(f)\n'
    write(tmp_path, {"main.py": START + code, ".flyte/config.yaml": CONFIG})
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("FLYTE", "DOCKER", "UCTL"))}
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env={**clean, "HOME": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode != 0
    told = " ".join((done.stdout + done.stderr).split())
    assert (
        f"error: The `with_pip_packages` layer of environment `env` ({place}): `pandas=2` is not a requirement" in told
    )
    assert "hint: write it like `name`" in told


@pytest.mark.parametrize(
    ("image", "problem", "hint"),
    [
        (
            'flyte.Image.from_dockerfile("Dockerfile", "r.example", "x")',
            "layers cannot follow a Dockerfile",
            "write it into the Dockerfile",
        ),
        (
            'flyte.Image.from_dockerfile("Dockerfile", "r.example", "x").clone(extendable=True)',
            "layers cannot follow a Dockerfile",
            "write it into the Dockerfile",
        ),
        ('flyte.Image.from_base("a")', "the image takes no layers", "extendable=True"),
        ('flyte.Image.from_base("a").clone(extendable=True)', "Cannot add additional layer", "give the image a name"),
    ],
)
def test_a_layer_on_an_image_that_takes_none(tmp_path: Path, image: str, problem: str, hint: str) -> None:
    """The SDK raises while the file is imported, when no environment is known."""
    write(tmp_path, {"main.py": START + f'image = {image}\\\n.with_pip_packages("a")\n' + END})
    ((exit_code, out, told),) = plan(tmp_path)
    error, _, rest = told.partition("\n")
    assert (exit_code, out) == (65, "")
    assert error.startswith("error: The `with_pip_packages` layer (main.py:6): " + problem)
    assert hint in rest
    assert "Traceback" not in told


def test_what_is_done_about_a_layer_on_such_an_image_is_the_user_s(tmp_path: Path) -> None:
    code = """
try:
    image = flyte.Image.from_base("a").with_pip_packages("a")
except ValueError:
    raise RuntimeError("no layers") from None
"""
    write(tmp_path, {"main.py": START + code + END})
    ((exit_code, _, told),) = plan(tmp_path)
    assert exit_code == 65
    assert "fails to import: RuntimeError: no layers" in told


@pytest.mark.parametrize("command", ["plan -o src/out", "build --dry-run --output oci:src/out"])
def test_what_is_written_into_a_folder_of_the_image(tmp_path: Path, command: str) -> None:
    """It would make another image of the one that is planned."""
    write(tmp_path, {"main.py": START + 'image = base.with_source_folder(here / "src")' + END, "src/f": ""})
    ((exit_code, out, told),) = plan(tmp_path, command=command)
    assert (exit_code, out) == (65, "")
    assert "holds `src/out`, which flytebuild itself writes" in told
    assert not (tmp_path / "src/out").exists()


@pytest.mark.parametrize("is_index", [True, False])
def test_a_base_that_is_not_there_for_the_platform(tmp_path: Path, is_index: bool) -> None:
    with registry() as (host, objects):
        publish(objects, "x", "1", "arm64", is_index=is_index)
        publish(objects, "astral-sh/uv", "0.13.4", "amd64")
        code = f'image = flyte.Image.from_base("{host}/x:1").clone(name="n", extendable=True).with_workdir("/x")\n'
        write(tmp_path, {"main.py": START + code + END})
        mirrors = f"ghcr.io={host}"
        ((exit_code, out, told),) = plan(tmp_path, FLYTEBUILD_MIRRORS=mirrors, FLYTEBUILD_PLATFORMS="linux/amd64")
    assert (exit_code, out) == (65, "")
    why = (
        "is not there for `linux/amd64`, only for linux/arm64"
        if is_index
        else "is for `linux/arm64`, not for `linux/amd64`"
    )
    error, _, hint = told.partition("\n")
    assert (
        error
        == f"error: The image of environment `env` (main.py:5) cannot be made for `linux/amd64`: `{host}/x:1` {why}"
    )
    assert "use an image that is there for that platform" in hint


def test_a_base_that_does_not_exist(tmp_path: Path) -> None:
    with registry() as (host, objects):
        publish(objects, "astral-sh/uv", "0.13.4", "amd64")
        write(tmp_path, {"main.py": f'{START}image = base.clone(base_image="python:3.99", name="n"){END}'})
        mirrors = f"ghcr.io={host},docker.io={host}/hub"
        ((exit_code, out, told),) = plan(tmp_path, FLYTEBUILD_MIRRORS=mirrors, FLYTEBUILD_PLATFORMS="linux/amd64")
    assert (exit_code, out) == (65, "")
    error, _, hint = told.partition("\n")
    assert error == (
        "error: The image of environment `env` (main.py:5) cannot be made: there is no `python:3.99` "
        f"(its registry was asked for `{host}/hub/library/python:3.99`)"
    )
    assert "one that only the engine has must be pushed" in hint


def test_what_may_surprise_is_told_once_and_stops_nothing(tmp_path: Path) -> None:
    """Two images with the same folder; what is printed as data stays what it was."""
    code = """
image = base.with_source_folder(here / "src")
other = flyte.TaskEnvironment(name="other", image=image.with_pip_packages("a"))
"""
    write(tmp_path, {"main.py": START + code + END, "src/f": "", "src/\u00e9": "", "src/e\u0301": ""})
    (tmp_path / "src/away").symlink_to("/etc/hostname")
    (tmp_path / "src/gone").symlink_to("nowhere")
    (tmp_path / "src/fine").symlink_to("f")
    with registry() as (host, objects):
        publish(objects, "flyteorg/flyte", version(), "amd64")
        publish(objects, "astral-sh/uv", "0.13.4", "amd64")
        ((exit_code, out, told),) = plan(
            tmp_path, FLYTEBUILD_MIRRORS=f"ghcr.io={host}", FLYTEBUILD_PLATFORMS="linux/amd64"
        )
    assert exit_code == 0, told
    notes = [line for line in told.splitlines() if line.startswith("note: ")]
    assert len(notes) == len(set(notes))
    assert sum("the link `away` leads to `/etc/hostname`, which is outside" in note for note in notes) == 1
    assert sum("the link `gone` leads to `nowhere`" in note for note in notes) == 1
    assert any("(NFC)" in note for note in notes)
    assert not any("`fine`" in note for note in notes)
    assert "note: " not in out
    assert "2 images, 2 to build" in out


@pytest.mark.parametrize(
    ("layer", "code"),
    [
        ("with_requirements", "with_requirements(here / 'locked/r.txt')"),
        ("with_source_folder", "with_source_folder(here / 'locked/d')"),
    ],
)
def test_a_file_in_a_folder_that_cannot_be_entered(tmp_path: Path, layer: str, code: str) -> None:
    write(tmp_path, {"main.py": f"{START}image = base.{code}{END}", "locked/r.txt": "", "locked/d/f": ""})
    (tmp_path / "locked").chmod(0)
    ((exit_code, out, told),) = plan(tmp_path, PLAN_WITHOUT_PRIVILEGES="1")
    (tmp_path / "locked").chmod(0o700)
    assert (exit_code, out) == (65, "")
    error, _, hint = told.partition("\n")
    assert error.startswith(f"error: The `{layer}` layer of environment `env` (main.py:5): `{tmp_path}/locked/")
    assert error.endswith("` cannot be read: Permission denied")
    assert "make it readable" in hint


def version() -> str:
    import flyte

    return f"py3.11-v{flyte.version()}"
