"""The lines of a Dockerfile that the SDK's own images hold."""

import re

import flyte
import pytest
from flyte._image import _DockerLines

from flytebuild.authoring.dockerlines import settings
from flytebuild.authoring.site import Site
from flytebuild.errors import UnsupportedImageError
from flytebuild.spec.model import SetEnv, SetLabels, Setting

SITE = Site("env", "`DockerLines` layer", "main.py:3")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("", None),
        ("  # a comment", None),
        ("LABEL a=b", SetLabels((("a", "b"),))),
        ("label a.b/c=\"d e\" f='g' h=", SetLabels((("a.b/c", "d e"), ("f", "g"), ("h", "")))),
        (" ENV A=1 B='x y' \n", SetEnv((("A", "1"), ("B", "x y")))),
        ('ENV PATH=/opt/bin:$PATH A="${B:-c}"', SetEnv((("PATH", "/opt/bin:$PATH"), ("A", "${B:-c}")))),
        ("ENV A=b=c#d", SetEnv((("A", "b=c#d"),))),
    ],
)
def test_labels_and_variables(line: str, found: Setting | None) -> None:
    assert list(settings(line, SITE)) == ([found] if found else [])


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("RUN true", "`RUN true` is a line of a Dockerfile that has no equivalent here"),
        ("nonsense", "`nonsense` is a line of a Dockerfile that has no equivalent here"),
        ("LABEL a=$B", "has no equivalent here"),
        ("ENV A='$B'", "has no equivalent here"),
        (r"ENV A=\$B", "has no equivalent here"),
        (r"ENV A=b\ c", "has no equivalent here"),
        ("ENV A b", "`ENV A b` is not of the form `ENV NAME=VALUE`"),
        ("LABEL =b", "`LABEL =b` is not of the form `LABEL NAME=VALUE`"),
        ("ENV A='b", "`ENV A='b` cannot be read (No closing quotation)"),
    ],
)
def test_anything_else_is_refused(line: str, problem: str) -> None:
    with pytest.raises(UnsupportedImageError, match=re.escape(problem)) as caught:
        list(settings(line, SITE))
    assert caught.value.message.startswith("The `DockerLines` layer of environment `env` (main.py:3): ")


def test_the_lines_of_the_sdk_are_understood() -> None:
    image = flyte.Image.from_debian_base(install_flyte=False, name="x")
    lines = [line for layer in image._layers if isinstance(layer, _DockerLines) for line in layer.lines]
    assert lines
    assert all(isinstance(item, SetLabels) for line in lines for item in settings(line, SITE))
