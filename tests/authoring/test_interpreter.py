"""Which Python an image has."""

import sys

import flyte
import pytest

from flytebuild.authoring.images import define
from flytebuild.authoring.site import recorded
from flytebuild.errors import UnsupportedImageError
from flytebuild.spec.model import ImageDefinition

HERE = sys.version_info[:2]
OTHER = (3, HERE[1] + 1)


def python(image: flyte.Image) -> str:
    found = define(image.clone(name="x", extendable=True), "env")
    assert isinstance(found, ImageDefinition)
    return found.python


@pytest.mark.parametrize(
    "reference", ["ghcr.io/flyteorg/flyte:py3.9-v2.12.1", "r.example/m/flyte:py3.9-v2.9.0@sha256:" + "1" * 64]
)
def test_flyte_s_own_base_has_the_one_that_it_says(reference: str) -> None:
    """Whichever this process runs with, which is what the SDK says of an image that nobody gave one."""
    image = flyte.Image.from_base(reference)
    assert image.python_version == HERE
    assert python(image) == "3.9"


def test_another_base_gets_the_one_that_was_asked_for() -> None:
    image = flyte.Image.from_base("r.example/flyte-tools:py3.9-v1")
    assert python(image) == f"{HERE[0]}.{HERE[1]}"
    assert python(image.clone(python_version=OTHER)) == f"{OTHER[0]}.{OTHER[1]}"


@pytest.mark.parametrize("asked", [HERE, OTHER])
def test_another_one_than_the_base_has_is_refused(asked: tuple[int, int]) -> None:
    with recorded():
        base = flyte.Image.from_debian_base(python_version=(3, 9), name="x")
        image = base.clone(python_version=asked).with_pip_packages("a").clone(name="y")
    with pytest.raises(UnsupportedImageError, match=rf"Python {asked[0]}\.{asked[1]} was asked for.* has 3\.9"):
        define(image, "env")
    assert python(base.clone(python_version=(3, 9))) == "3.9"
