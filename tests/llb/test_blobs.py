"""Which operations the layers of an image come from."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from flytebuild.llb.blobs import blobs
from flytebuild.llb.lower import lower, steps_of
from flytebuild.llb.merge import diff
from flytebuild.llb.wheels import wheel_layer
from flytebuild.spec.layers import AptPackages, Command, Copy, Folder, Pin, Pinned, WheelLayer
from tests.samples import AMD64, UV, file_tree, made_of, pip, spec

WHEELS = tuple(
    WheelLayer((Pin(name, "1", f"{name}-1-py3-none-any.whl", "1" * 64),), UV, "3.11", AMD64, "/opt/venv")
    for name in ("a", "b")
)
FILES = Copy(file_tree("main.py", "ab" * 32, 1), "/app", owner="flyte", origin="main.py")


def test_a_chain_has_a_layer_for_each_operation_the_lowest_first() -> None:
    image = spec("ruff", "pytest")
    steps = steps_of(image)
    assert [steps[digest] for digest in blobs(lower(image))] == list(range(len(image.steps)))


@pytest.mark.parametrize("can_merge", [True, False])
def test_what_a_step_only_looks_at_is_no_layer(can_merge: bool) -> None:
    image = made_of(AptPackages(("curl",)), pip("six"), Command("true"), FILES, Folder("/data"))
    steps = steps_of(image, can_merge=can_merge)
    assert [steps[digest] for digest in blobs(lower(image, can_merge=can_merge))] == list(range(len(image.steps)))


def test_wheel_layers_are_where_they_are_merged() -> None:
    image = made_of(pip("six"), pip("a", "b"), Command("true"))
    *below, packages, last = image.steps
    pinned = Pinned(tuple(layer.pins[0] for layer in WHEELS), "layers", layers=WHEELS)
    image = replace(image, steps=(*below, replace(packages, layer=pinned), last))
    made = [blobs(wheel_layer(layer)) for layer in WHEELS]
    assert [len(item) for item in made] == [1, 1]
    found = blobs(lower(image))
    assert found[-3:-1] == (*made[0], *made[1])
    assert found[-1] == lower(image).vertex.digest
    assert len(found) == len(image.steps) + 1


def test_a_difference_of_strangers_has_no_layers_of_its_own() -> None:
    with pytest.raises(ValueError, match="is no part of what it is taken from"):
        blobs(diff(lower(spec("ruff")), lower(spec("pytest")), name="both"))
