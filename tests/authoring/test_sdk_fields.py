"""Every field of the SDK's images, layers and secrets is in the digest, or is named with the reason why it is not.

A field or a kind of layer that a later SDK brings fails here, instead of being passed over.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import flyte
import pytest
from flyte._image import (
    AptPackages,
    CodeBundleLayer,
    Commands,
    CopyConfig,
    DockerIgnore,
    Env,
    Layer,
    PipOption,
    PipPackages,
    PixiProject,
    PixiScript,
    PoetryProject,
    PythonWheels,
    Requirements,
    UVProject,
    UVScript,
    WorkDir,
    _DockerLines,
)

from flytebuild.authoring import images, layers
from flytebuild.errors import UnsupportedImageError
from tests.authoring.meaning import extendable, meaning

SECRET = (flyte.Secret("TOK"),)
PIP: Mapping[str, tuple[Any, Any]] = {
    "index_url": (None, "https://i.example/simple"),
    "extra_index_urls": (("https://i.example/simple",), ("https://j.example/simple",)),
    "pre": (False, True),
    "extra_args": (None, "--no-deps"),
    "secret_mounts": (None, SECRET),
}
PROJECT = '[project]\nname = "p"\nversion = "0"\n'
UV_LOCK = 'version = 1\n[[package]]\nname = "p"\nversion = "0"\nsource = { virtual = "." }\n'
PIXI = '[workspace]\nname = "p"\nchannels = []\nplatforms = ["linux-64"]\n'
SCRIPT = '# /// script\n# dependencies = ["six"]\n# ///\n'
FILES = {
    "pyproject.toml": PROJECT,
    "uv.lock": UV_LOCK,
    "poetry.lock": "package = []\n",
    "pixi.toml": PIXI,
    "pixi.lock": "version: 6\n",
    "script.py": SCRIPT,
    "requirements.txt": "six\n",
    "source": "a\n",
    "module.py": "",
    "Dockerfile": "FROM r.example/base:1\n",
    "ignore": "*.md\n",
    "dist/a-1-py3-none-any.whl": "PK",
}


@dataclass(frozen=True)
class Case:
    """A layer by its fields, and two values for each of them that should, or should not, be told apart."""

    kind: type[Layer]
    usual: Mapping[str, Any]
    values: Mapping[str, tuple[Any, Any]]
    around: Callable[[flyte.Image], flyte.Image] = lambda image: image


def cases(here: Path) -> Iterator[Case]:
    """One for each kind. `here` and its sibling `there` hold equal files; `other` has other ones of the same names."""
    there, other = here.with_name("there"), here.with_name("other")
    yield Case(PipPackages, {"packages": ("a",)}, {"packages": (("a",), ("b",)), **PIP})
    yield Case(
        PythonWheels,
        {"wheel_dir": here / "dist", "package_name": "a"},
        {
            "wheel_dir": (here / "dist", there / "dist"),
            "wheel_dir_name": ("dist", "x"),
            "package_name": ("a", "b"),
            **PIP,
        },
    )
    file = here / "requirements.txt"
    yield Case(
        Requirements,
        {"file": file},
        {"file": (file, other / "requirements.txt"), "packages": (None, ("a",)), **PIP},
    )
    modes = ("dependencies_only", "install_project")
    yield Case(
        UVProject,
        {"pyproject": here / "pyproject.toml", "uvlock": here / "uv.lock"},
        {
            "pyproject": (here / "pyproject.toml", there / "pyproject.toml"),
            "uvlock": (here / "uv.lock", there / "uv.lock"),
            "project_install_mode": modes,
            **PIP,
        },
    )
    extra = {"extra_args": (None, "--quiet"), "secret_mounts": (None, SECRET)}
    yield Case(
        PoetryProject,
        {"pyproject": here / "pyproject.toml", "poetry_lock": here / "poetry.lock"},
        {
            "pyproject": (here / "pyproject.toml", there / "pyproject.toml"),
            "poetry_lock": (here / "poetry.lock", there / "poetry.lock"),
            "project_install_mode": modes,
            **extra,
        },
    )
    yield Case(
        PixiProject,
        {"manifest": here / "pixi.toml", "pixi_lock": here / "pixi.lock"},
        {
            "manifest": (here / "pixi.toml", other / "pixi.toml"),
            "pixi_lock": (here / "pixi.lock", there / "pixi.lock"),
            "environment": ("default", "prod"),
            "project_install_mode": modes,
            **extra,
        },
    )
    scripts = {"script": (here / "script.py", there / "script.py"), "script_name": ("script.py", "x.py")}
    yield Case(UVScript, {"script": here / "script.py"}, {**scripts, **PIP})
    yield Case(
        PixiScript,
        {"script": here / "script.py"},
        {**scripts, "platforms": (("linux-64",), ("linux-aarch64",)), "environment": ("default", "prod"), **extra},
    )
    yield Case(AptPackages, {"packages": ("a",)}, {"packages": (("a",), ("b",)), "secret_mounts": (None, SECRET)})
    yield Case(Commands, {"commands": ("a",)}, {"commands": (("a",), ("b",)), "secret_mounts": (None, SECRET)})
    yield Case(WorkDir, {"workdir": "/a"}, {"workdir": ("/a", "/b")})
    yield Case(Env, {"env_vars": (("A", "1"),)}, {"env_vars": ((("A", "1"),), (("A", "2"),))})
    yield Case(_DockerLines, {"lines": ("LABEL a=1",)}, {"lines": (("LABEL a=1",), ("LABEL a=2",))})
    yield Case(
        CopyConfig,
        {"path_type": 0, "src": here / "source", "dst": "/x"},
        {"path_type": (0, 1), "src": (here / "source", there / "source"), "dst": ("/x", "/y")},
    )
    yield Case(
        CodeBundleLayer,
        {"copy_style": "all", "dst": "/x", "root_dir": here},
        {"copy_style": ("all", "loaded_modules"), "dst": ("/x", "/y"), "root_dir": (here, there)},
    )
    yield Case(
        DockerIgnore,
        {"path": str(here / "ignore")},
        {"path": (str(here / "ignore"), str(there / "ignore"))},
        around=lambda image: image.with_source_folder(here),
    )


@pytest.fixture
def here(tmp_path: Path) -> Path:
    for name, suffix in (("here", ""), ("there", ""), ("other", "# another\n")):
        for path, text in FILES.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_text(text + suffix)
    return tmp_path / "here"


def kinds(kind: type[Any]) -> set[type[Any]]:
    """All kinds of layers that the SDK has, private ones included."""
    below = {item for item in kind.__subclasses__() if item.__module__.startswith("flyte.")}
    return below.union(*(kinds(item) for item in below))


KINDS = sorted(kinds(Layer), key=lambda kind: kind.__name__)


def told(image: flyte.Image) -> str:
    """What an image means; a refusal is an answer as well, since it drops nothing."""
    try:
        return meaning(image)
    except UnsupportedImageError as error:
        return f"refused: {error}"


def layer(case: Case, name: str, value: Any) -> Layer:
    is_given = next(field.init for field in fields(case.kind) if field.name == name)
    made = case.kind(**{**case.usual, name: value} if is_given else case.usual)
    if not is_given:
        object.__setattr__(made, name, value)
    return made


def test_every_kind_of_layer_is_read() -> None:
    assert set(layers._KINDS) == set(KINDS)
    assert kinds(PipOption) < set(KINDS)


def test_there_is_a_case_for_every_kind(here: Path) -> None:
    assert [case.kind for case in sorted(cases(here), key=lambda case: case.kind.__name__)] == KINDS


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
def test_every_field_of_a_layer_moves_the_digest_or_is_outside(here: Path, kind: type[Layer]) -> None:
    case = next(case for case in cases(here) if case.kind is kind)
    names = {field.name for field in fields(kind)}
    assert set(case.values) == names, "a field has no values here, or a field of these values is gone"
    for name, (one, other) in case.values.items():
        found = [told(case.around(extendable().clone(addl_layer=layer(case, name, value)))) for value in (one, other)]
        assert not found[0].startswith("refused"), found[0]
        assert (found[0] == found[1]) == (f"{kind.__name__}.{name}" in layers.OUTSIDE), name


def test_no_reason_is_given_for_a_field_that_is_gone() -> None:
    known = {f"{kind.__name__}.{field.name}" for kind in KINDS for field in fields(kind)}
    assert set(layers.OUTSIDE) <= known
    assert set(images.OUTSIDE) <= {field.name for field in fields(flyte.Image)}
    assert all({**layers.OUTSIDE, **images.OUTSIDE}.values())


def test_every_field_of_an_image_moves_the_digest_or_is_outside(here: Path) -> None:
    pip = (PipPackages(packages=("a",)),)
    usual: dict[str, Any] = {"base_image": "r.example/base:1", "name": "x", "_is_cloned": True, "_layers": pip}
    values: dict[str, tuple[Any, Any]] = {
        "base_image": ("r.example/base:1", "r.example/base:2"),
        "dockerfile": (here / "Dockerfile", here.with_name("other") / "Dockerfile"),
        "registry": (None, "r.example"),
        "name": ("x", "y"),
        "platform": (("linux/amd64",), ("linux/arm64",)),
        "python_version": ((3, 11), (3, 13)),
        "extendable": (False, True),
        "_is_cloned": (True, False),
        "_ref_name": (None, "x"),
        "_layers": (pip, ()),
        "_tag": (None, "x"),
        "_image_registry_secret": (None, flyte.Secret("TOK")),
    }
    assert set(values) == {field.name for field in fields(flyte.Image)}
    for name, pair in values.items():
        found = []
        for value in pair:
            given = {**usual, name: value} | ({"_layers": ()} if name == "dockerfile" else {})
            tag = given.pop("_tag", None)
            image = flyte.Image._new(**given)
            object.__setattr__(image, "_tag", tag)
            found.append(meaning(image))
        assert (found[0] == found[1]) == (name in images.OUTSIDE), name


def test_every_field_of_a_secret_moves_the_digest() -> None:
    values: dict[str, tuple[Any, Any]] = {
        "key": ("A", "B"),
        "group": (None, "g"),
        "mount": (None, Path("/etc/flyte/secrets")),
        "as_env_var": (None, "X"),
    }
    assert set(values) == {field.name for field in fields(flyte.Secret)}
    for name, pair in values.items():
        made = [flyte.Secret(**{"key": "A", name: value}) for value in pair]
        one, other = (meaning(extendable().with_pip_packages("a", secret_mounts=secret)) for secret in made)
        assert one != other, name
