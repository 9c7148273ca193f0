"""`flyte.Image` becomes a definition, or is refused by name; nothing is dropped silently."""

import re
from pathlib import Path

import flyte
import pytest

from flytebuild.authoring.images import define
from flytebuild.errors import UnsupportedImageError
from flytebuild.spec.images import Platform
from flytebuild.spec.layers import Command, Copy, PipOptions, PipPackages, PoetryProject
from flytebuild.spec.model import ExternalImage, ImageDefinition

BASE = flyte.Image.from_debian_base(python_version=(3, 11))


def test_pip_layers_on_the_default_base() -> None:
    image = BASE.with_pip_packages("Ruff", "pytest >=8", index_url="https://i/simple", pre=True, extra_args="--no-deps")
    found = define(image.with_pip_packages("flyte"), "env")
    assert isinstance(found, ImageDefinition)
    assert found.base.startswith("ghcr.io/flyteorg/flyte:py3.11-v2.12")
    assert (found.name, found.registry, found.python) == ("flyte", None, "3.11")
    assert found.platforms == (Platform("linux", "amd64"), Platform("linux", "arm64"))
    options = PipOptions(index_url="https://i/simple", pre=True, extra_args="--no-deps")
    assert [placed.part for placed in found.parts] == [
        PipPackages(("ruff", "pytest>=8"), options),
        PipPackages(("flyte",)),
    ]


@pytest.mark.parametrize("image", ["auto", None, BASE])
def test_the_default_image_is_external(image: object) -> None:
    found = define(image, "env")
    assert isinstance(found, ExternalImage)
    assert found.reference.startswith("ghcr.io/flyteorg/flyte:py3.")


def test_an_image_by_name_is_external() -> None:
    assert define("python:3.11", "env") == ExternalImage("python:3.11")
    assert define(flyte.Image.from_base("r.example/x:1"), "env") == ExternalImage("r.example/x:1")


def test_a_clone_is_built_though_it_adds_no_layer() -> None:
    """It may have another Python than its base, and it is wanted under its own name."""
    found = define(flyte.Image.from_base("r.example/x:1").clone(name="mine", python_version=(3, 13)), "env")
    assert isinstance(found, ImageDefinition)
    assert (found.base, found.name, found.python, found.parts) == ("r.example/x:1", "mine", "3.13", ())


def test_a_registry_of_the_user_s_is_kept() -> None:
    image = flyte.Image.from_debian_base(registry="r.example/me", name="mine").with_pip_packages("a")
    found = define(image, "env")
    assert isinstance(found, ImageDefinition)
    assert (found.registry, found.name) == ("r.example/me", "mine")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (BASE.with_pip_packages("a", index_url="https://me:pw@i/simple"), "a URL holds credentials"),
        (BASE.with_pip_packages("a @ https://token@i/a.whl"), "a URL holds credentials"),
        (BASE.with_pip_packages("a @ https://$USER:pw@i/a.whl"), "a URL holds credentials"),
        (BASE.with_pip_packages("a", extra_args="-i https://u:pw@i git+ssh://git@h/x"), "a URL holds credentials"),
        (BASE.with_pip_packages("pandas=2"), "`pandas=2` is not a requirement"),
        (BASE.with_requirements("nothing.txt"), "file `nothing.txt` does not exist"),
        (BASE.with_env_vars({"A=B": "c"}), "`A=B` is not the name of an environment variable"),
        (BASE.with_commands(["--mount=type=cache,target=/x true"]), "`--mount=type=cache,target=/x` is an option"),
        (BASE.with_env_vars({"A\n": "c"}), "`A\n` is not the name of an environment variable"),
        (
            BASE.with_env_vars({"A": ["c"]}),
            "`with_env_vars` layer of environment `env`: `env_vars` is or holds a `list`",
        ),  # type: ignore[dict-item]
        (BASE.with_pip_packages(None), "`packages` is or holds `None`, where a `str` is needed"),  # type: ignore[arg-type]
        (BASE.with_apt_packages(3), "`packages` is or holds a `int`, where a `str` is needed"),  # type: ignore[arg-type]
        (BASE.with_workdir(Path("/srv")), "`workdir` is or holds a `PosixPath`"),  # type: ignore[arg-type]
        (BASE.with_source_file(Path(__file__), Path("/srv")), "`dst` is or holds a `PosixPath`"),  # type: ignore[arg-type]
        (BASE.with_pip_packages("a", secret_mounts=[3]), "`secret_mounts` is or holds a `int`"),  # type: ignore[list-item]
        (BASE.clone(python_version=(3,)), "its `python_version` is `(3,)`, not a pair of numbers"),  # type: ignore[arg-type]
        (BASE.clone(python_version="3.11"), "its `python_version` is `'3.11'`, not a pair of numbers"),  # type: ignore[arg-type]
        (BASE.with_commands(["echo \0"]), "a text has a null character"),
        (BASE.with_commands(['["echo", "\\u0000"]']), "a text has a null character"),
        (BASE.with_commands(["curl https://u:pw@i/x"]), "a command has a URL with credentials"),
        (BASE.with_commands(['["curl", "https:\\/\\/u:pw\\u0040i/x"]']), "a command has a URL with credentials"),
        (BASE.with_pip_packages("a", extra_args="\0"), "a text has a null character"),
        (BASE.with_workdir("/a\0"), "a text has a null character"),
        (BASE.with_source_file(Path(__file__), "/a\0"), "a text has a null character"),
        (BASE.with_apt_packages("a\0"), "a text has a null character"),
        (BASE.clone(name="My Image"), "its name, `My Image`, cannot be part of an image reference"),
        (BASE.clone(registry="https://r.example/x"), "`https://r.example/x`, the registry that it is for, cannot be"),
        (BASE.clone(base_image="R.example/Base:1"), "its base `R.example/Base:1` cannot be part of an image reference"),
        (flyte.Image.from_base("https://r.example/x"), "`https://r.example/x` cannot be part of an image reference"),
        (flyte.Image.from_base("us:hunter2@ghcr.io/x:1"), "`…@ghcr.io/x:1` holds credentials"),
        ("us:hunter2@ghcr.io/x:1", "`…@ghcr.io/x:1` holds credentials"),
        ("Not A Ref", "`Not A Ref` cannot be part of an image reference"),
        (BASE.clone(registry="us:hunter2@ghcr.io/x"), "`…@ghcr.io/x`, the registry that it is for, holds credentials"),
        (BASE.clone(base_image="us:hunter2@ghcr.io/x"), "its base `…@ghcr.io/x` holds credentials"),
        (flyte.Image.from_debian_base(platform=()).with_env_vars({}), "it is for no platform"),  # type: ignore[arg-type]
        (BASE.with_commands([" "]), "a command is empty"),
        (BASE.with_commands(["<<EOF\necho\n"]), "the script that starts with `<<EOF` does not end with `EOF`"),
        (BASE.with_commands(["<<END-OF\necho\nEND-OF"]), "`<<END-OF` does not start a script that can be read"),
        (BASE.with_commands(["<<'A B'\necho\nA B"]), "`<<'A B'` does not start a script that can be read"),
        (BASE.with_commands(["<<EOF\necho\nEOF\nUSER x"]), "`USER x` comes after the end of the script"),
        (BASE.with_source_folder(Path("nowhere")), "folder `nowhere` does not exist"),
        (BASE.with_source_file(Path("nowhere.txt")), "file `nowhere.txt` does not exist"),
        (BASE.with_dockerignore(Path("no.dockerignore")), "file `no.dockerignore` does not exist"),
        (BASE.with_apt_packages("a b"), "`a b` is not the name of a Debian package"),
        (flyte.Image.from_dockerfile(Path("nothing"), "r.example", "x"), "file `nothing` does not exist"),
        (flyte.Image.from_ref_name("x"), "no image is configured under the name `x`"),
        (flyte.Image.from_base(""), "no base image"),
        (3, "is a `int`"),
    ],
)
def test_what_cannot_be_honoured_is_refused(image: object, message: str) -> None:
    with pytest.raises(UnsupportedImageError, match=re.escape(message)) as caught:
        define(image, "env")
    assert caught.value.exit_code == 65
    assert "pw" not in str(caught.value)
    assert "`env`" in str(caught.value)
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"


def test_a_variable_in_a_url_is_no_credential_and_is_left_to_a_shell() -> None:
    """As Flyte's own builder does."""
    given = ("git+https://$PAT@h/x.git@v1", "git+https://u:$PAT@h/x", "a @ https://${PAT}@h/a.whl", "b==1")
    found = define(BASE.with_pip_packages(*given), "env")
    assert isinstance(found, ImageDefinition)
    (layer,) = [placed.part for placed in found.parts]
    assert isinstance(layer, PipPackages)
    assert set(layer.requirements) == {
        *("git+https://${PAT}@h/x.git@v1", "git+https://u:${PAT}@h/x", "a @ https://${PAT}@h/a.whl", "b==1")
    }


def test_a_defect_of_ours_is_not_blamed_on_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flytebuild.authoring.images.parts", lambda *_: len(3))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        define(BASE.with_pip_packages("a"), "env")


def test_a_script_keeps_what_is_in_its_lines() -> None:
    found = define(BASE.with_commands(["<<EOF\necho '\x0b\u2028'\r\nEOF"]), "env")
    assert isinstance(found, ImageDefinition)
    assert found.parts[0].part == Command("echo '\x0b\u2028'\r")


@pytest.mark.parametrize("text", ["<<EOF cat\na\nEOF", "<<A <<B\na\nA\nb\nB", "cat <<EOF > /x\na\nEOF"])
def test_heredocs_that_feed_a_command_are_the_shell_s(text: str) -> None:
    found = define(BASE.with_commands([text]), "env")
    assert isinstance(found, ImageDefinition)
    assert found.parts[0].part == Command(text)


@pytest.mark.parametrize("leak", ["https://u:pw@c.example/x", "https://c.example/t/pw-12345/x"])
def test_credentials_in_files_of_pixi_s_are_refused(tmp_path: Path, leak: str) -> None:
    """They would be copied into the image."""
    header = '# /// script\n# dependencies = ["six"]\n# [tool.pixi.workspace]\n# channels = ["{}"]\n# ///\n'
    manifest = '[workspace]\nname = "p"\nchannels = ["{}"]\nplatforms = ["linux-64"]\n'
    (tmp_path / "pixi.toml").write_text(manifest.format("x"))
    (tmp_path / "pixi.lock").write_text(f"version: 6\npackages:\n- conda: {leak}/a.conda\n")
    (tmp_path / "script.py").write_text(header.format("x"))
    (tmp_path / "script.py.pixi.lock").write_text((tmp_path / "pixi.lock").read_text())
    (tmp_path / "other.py").write_text(header.format(leak))
    (tmp_path / "other").mkdir()
    (tmp_path / "other/pixi.toml").write_text(manifest.format(leak))
    for image, where in (
        (BASE.with_pixi_project(tmp_path / "pixi.toml"), "line 3 of `.*pixi.lock`"),
        (BASE.with_pixi_project(tmp_path / "other/pixi.toml"), "line 3 of `.*pixi.toml`"),
        (flyte.Image.from_pixi_script(tmp_path / "script.py", name="x"), "line 3 of `.*script.py.pixi.lock`"),
        (flyte.Image.from_pixi_script(tmp_path / "other.py", name="x"), "`.*other.py`"),
    ):
        with pytest.raises(UnsupportedImageError, match=f"{where} has a URL with credentials") as caught:
            define(image, "env")
        assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "is_strict"),
    [
        ("a; b", False),
        ("\n  a && b\n\n", False),
        ("a \\\n  b", False),
        ("a && \\\n# why\n  b", False),
        ("cat <<EOF >f\none\ntwo\nEOF\n", False),
        ("<<EOF\na\nb\nEOF", False),
        ("a\nb", True),
        ("\nset -x\na\n", True),
        ("cat <<EOF >f\none\nEOF\nb", True),
    ],
)
def test_text_of_several_lines_ends_with_the_first_that_fails(text: str, is_strict: bool) -> None:
    """A Dockerfile could not hold it; what it could hold stays as it would be there."""
    found = define(BASE.with_commands([text]), "env")
    assert isinstance(found, ImageDefinition)
    (command,) = (placed.part for placed in found.parts)
    assert isinstance(command, Command)
    assert command.shell.startswith("set -e\n") == is_strict
    assert not is_strict or command.shell == "set -e\n" + text
    assert "set -e" not in command.summary


@pytest.mark.parametrize(
    "tables", ["tool = 3", "[tool]\npixi = 3", '[tool.pixi]\nworkspace = "x"', "[tool.pixi]\na = [[1], {}]"]
)
def test_tables_of_other_types_in_a_script_are_refused(tmp_path: Path, tables: str) -> None:
    lines = "".join(f"# {line}\n" for line in tables.splitlines())
    (tmp_path / "script.py").write_text(f"# /// script\n{lines}# ///\n")
    with pytest.raises(UnsupportedImageError, match="The `from_pixi_script` layer"):
        define(flyte.Image.from_pixi_script(tmp_path / "script.py", name="x"), "env")


@pytest.mark.parametrize("tables", ["tool = 3", "[tool]\npoetry = 3", "[tool.poetry]\ngroup = 3", "project = 3"])
def test_tables_of_other_types_in_a_project_are_none(tmp_path: Path, tables: str) -> None:
    (tmp_path / "pyproject.toml").write_text(tables)
    (tmp_path / "poetry.lock").write_text("package = 3\n")
    found = define(BASE.with_poetry_project(tmp_path / "pyproject.toml", project_install_mode="install_project"), "env")
    assert isinstance(found, ImageDefinition)
    (project,) = (placed.part for placed in found.parts)
    assert isinstance(project, PoetryProject)
    assert project.packages == ()


def test_copied_files_are_called_as_they_are_found_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    for folder in (here / "shared" / "common", tmp_path / "elsewhere"):
        folder.mkdir(parents=True)
        (folder / "a.py").touch()
    monkeypatch.chdir(here)
    image = (
        BASE.with_source_folder(Path("shared/common"))
        .with_source_folder(here / "shared")
        .with_source_folder(here)
        .with_source_folder(tmp_path / "elsewhere")
        .with_source_file(here / "shared" / "common" / "a.py")
    )
    found = define(image, "env")
    assert isinstance(found, ImageDefinition)
    folders = [placed.part.folder for placed in found.parts if isinstance(placed.part, Copy)]
    assert folders == ["shared/common/", "shared/", "", "", "shared/common/"]
