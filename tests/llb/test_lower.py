"""What layers are translated to, where that is easily wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flytebuild.llb.lower import lower, origins
from flytebuild.llb.step import with_extra
from flytebuild.spec.images import RuntimeConfig
from flytebuild.spec.layers import AptPackages, LayerSpec, PipOptions, PipPackages, PixiProject, UvProject
from flytebuild.spec.model import Step
from flytebuild.spec.tree import file_tree
from tests.samples import made_of, spec


def test_every_operation_of_a_layer_leads_to_where_it_was_written() -> None:
    image = spec("ruff", "pytest")
    placed = tuple(replace(step, origin=f"main.py:{number}") for number, step in enumerate(image.steps))
    image = replace(image, steps=placed)
    found = origins(image)
    last = lower(image).vertex
    assert found[last.digest] == f"main.py:{len(placed) - 1}"
    assert found[last.inputs[0].vertex.digest] == f"main.py:{len(placed) - 2}"
    base = lower(replace(image, steps=())).vertex
    assert base.digest not in found
    nowhere = tuple(replace(step, origin="") for step in placed)
    assert origins(replace(image, steps=nowhere)) == {}


@pytest.mark.parametrize("layer", [PipPackages(()), AptPackages(())], ids=["pip", "apt"])
def test_an_empty_list_of_packages_is_no_operation(layer: LayerSpec) -> None:
    image = spec("ruff")
    step = Step(layer, RuntimeConfig(env=(("UV_PYTHON", "/p"),)))
    assert lower(replace(image, steps=(*image.steps, step))) == lower(image)


def test_options_alone_may_say_what_to_install() -> None:
    image = spec("ruff")
    layer = PipPackages((), PipOptions(extra_args="-r /list.txt"))
    step = Step(layer, RuntimeConfig(env=(("UV_PYTHON", "/p"),)))
    assert lower(replace(image, steps=(*image.steps, step))) != lower(image)


@pytest.mark.parametrize(
    ("extra", "options"),
    [
        ("", "--no-install-project --locked"),
        ("--locked", "--no-install-project --locked"),
        ("--no-install-project -q", "--locked --no-install-project -q"),
        ("--frozen", "--no-install-project --frozen"),
        ("-P six", "--no-install-project -P six"),
        ("--upgrade-package=six", "--no-install-project --upgrade-package=six"),
    ],
)
def test_no_option_of_uv_comes_twice_or_beside_one_that_excludes_it(extra: str, options: str) -> None:
    lock = file_tree("uv.lock", "0" * 64, 1)
    layer = UvProject("dependencies_only", lock, True, options=PipOptions(extra_args=extra))
    always = "uv sync --active --inexact --project /run/flytebuild-project"
    assert " ".join(arguments(layer)).removeprefix("/bin/sh -c ") == f"{always} {options}"


def test_pixi_is_told_once_that_its_project_is_locked() -> None:
    for extra, expected in (("", "--locked"), ("--locked", "--locked"), ("--frozen", "--frozen")):
        layer = PixiProject("pixi.toml", "default", True, file_tree("pixi.toml", "0" * 64, 1), extra_args=extra)
        assert " ".join(arguments(layer)).endswith(f"--environment default {expected}")


def arguments(layer: LayerSpec) -> list[str]:
    """What the last process of a layer is called with."""
    return list(lower(made_of(layer)).vertex.operation.exec.meta.args)


def test_a_shell_is_called_only_where_there_is_something_for_it() -> None:
    assert with_extra(("uv", "--index-url", "https://i/a?b&c$d"), "", ("x y",)) == (
        *("uv", "--index-url", "https://i/a?b&c$d"),
        "x y",
    )
    assert with_extra(("uv",), "--pre $X", ("x y",))[2] == "uv --pre $X 'x y'"


def test_names_in_braces_are_the_only_thing_that_a_shell_replaces_in_arguments() -> None:
    command = with_extra(("uv", "--index-url", 'https://${A}:${B}@i/`"$c\\$(d)'), "", ("x>1",))
    assert command == ("/bin/sh", "-c", 'uv --index-url "https://${A}:${B}@i/\\`\\"\\$c\\\\\\$(d)" \'x>1\'')
