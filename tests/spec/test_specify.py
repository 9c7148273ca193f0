"""From a definition to the exact image."""

import pytest

from flytebuild.errors import UnsupportedImageError
from flytebuild.spec.model import Platform, ResolvedImage
from flytebuild.spec.specify import specify
from tests.samples import AMD64, BASE, UV, definition, spec


def test_the_base_keeps_its_user_and_folder() -> None:
    made = spec("ruff")
    assert (made.config.user, made.config.workdir) == ("flyte", "/home/flyte")
    assert {step.context.user for step in made.steps} == {"root"}


def test_the_virtual_environment_is_first_on_the_path_and_the_base_s_path_is_kept() -> None:
    path = dict(spec("ruff").config.env)["PATH"].split(":")
    assert path[0] == "/opt/venv/bin"
    assert "/usr/bin" in path


def test_another_platform_is_refused_with_both_names() -> None:
    with pytest.raises(UnsupportedImageError, match=r"linux/amd64.*linux/arm64"):
        specify(definition(), Platform("linux", "arm64"), BASE, UV)


def test_an_unresolved_base_is_a_problem_not_a_guess() -> None:
    assert spec("ruff").problem == ""
    assert spec("ruff", base=ResolvedImage("a:1", "a:1", problem="no answer")).problem == "no answer"
    assert spec("ruff", uv=ResolvedImage("uv:1", "uv:1", problem="no uv")).problem == "no uv"
    assert str(AMD64) == "linux/amd64"
