"""Layers are called what the user calls to get them."""

from pathlib import Path

import flyte
import pytest

from flytebuild.authoring.layers import _KINDS
from flytebuild.authoring.methods import _METHODS, method_of

BASE = flyte.Image.from_base("r.example/base:1").clone(name="x", extendable=True)
HERE = Path(__file__)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("with_pip_packages", ("a",)),
        ("with_requirements", ("r.txt",)),
        ("with_uv_project", ("pyproject.toml",)),
        ("with_poetry_project", ("pyproject.toml",)),
        ("with_pixi_project", ("pixi.toml",)),
        ("with_apt_packages", ("a",)),
        ("with_commands", (["a"],)),
        ("with_env_vars", ({"A": "b"},)),
        ("with_workdir", ("/a",)),
        ("with_source_file", (HERE,)),
        ("with_source_folder", (HERE.parent,)),
        ("with_code_bundle", ()),
        ("with_dockerignore", (HERE,)),
    ],
)
def test_each_method(method: str, arguments: tuple[object, ...]) -> None:
    (layer,) = getattr(BASE, method)(*arguments)._layers
    assert method_of(layer) == method


def test_no_kind_of_layer_is_forgotten() -> None:
    nameless = {kind.__name__ for kind in _KINDS if kind not in _METHODS}
    assert nameless == {"CopyConfig", "PythonWheels", "_DockerLines"}
