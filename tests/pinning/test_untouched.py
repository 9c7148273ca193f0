"""Which images need no file of their base, and what becomes of them."""

from __future__ import annotations

import asyncio

import pytest

from flytebuild.events import ignore
from flytebuild.pinning.locking import ready_bases
from flytebuild.pinning.untouched import with_bases_untouched
from flytebuild.spec.layers import AptPackages, Binary, Command, Copy, Folder, LayerSpec, Pin, Pinned, WheelLayer
from flytebuild.spec.model import ImageSpec, Part, SetEnv, SetWorkDir
from flytebuild.wheels.base import Base
from tests.samples import AMD64, BASE, UV, file_tree, made_of, pip

SIX = Pin("six", "1", "six-1-py3-none-any.whl", "1" * 64, "https://i.example/six.whl")
WHEELS = Pinned((SIX,), "layers", layers=(WheelLayer((SIX,), UV, "3.11", AMD64, "/opt/venv"),))
FILE = Copy(file_tree("main.py", "ab" * 32, 1), "/root")


def found(spec: ImageSpec, *, ready: bool | None = True) -> ImageSpec:
    known = {} if ready is None else {str(BASE.digest): ready}
    return with_bases_untouched({"env": {AMD64: spec}}, known)["env"][AMD64]


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (WHEELS,),
        (WHEELS, Pinned(()), pip(), AptPackages(())),
        (SetEnv((("A", "1"),)), SetWorkDir("/srv"), WHEELS, FILE),
        (WHEELS, Folder("/usr/local/share/x"), FILE, FILE),
    ],
    ids=lambda parts: " ".join(type(part).__name__ for part in parts) or "nothing",
)
def test_images_of_layers_and_files(parts: tuple[Part, ...]) -> None:
    before = made_of(*parts)
    after = found(before)
    uv, *rest = after.steps
    assert isinstance(uv.layer, Binary)
    assert uv.layer.is_apart
    assert tuple(rest) == before.steps[2:]
    assert found(before, ready=False) == found(before, ready=None) == before


@pytest.mark.parametrize(
    "layer",
    [
        Command(shell="true"),
        AptPackages(("curl",)),
        pip("six"),
        Pinned((SIX,)),
        Folder("/opt/venv/share"),
        Folder("/usr/bin/uv"),
    ],
    ids=lambda layer: layer.kind,
)
def test_what_needs_the_files_of_the_image_is_made_on_top_of_the_base(layer: LayerSpec) -> None:
    for parts in ((WHEELS, layer), (layer, WHEELS, FILE)):
        assert found(made_of(*parts)) == made_of(*parts)


def test_files_that_other_layers_lie_on_are_copied_onto_the_image() -> None:
    assert found(made_of(FILE, WHEELS)) == made_of(FILE, WHEELS)


def test_an_unknown_base_is_not_ready() -> None:
    spec = made_of(WHEELS, base=UV)
    assert found(spec) == spec


@pytest.mark.parametrize("known", [{}, {str(BASE.digest): True}, {str(BASE.digest): False, str(UV.digest): True}])
def test_what_is_known_of_bases_stays(known: dict[str, bool]) -> None:
    """Also where nothing is locked on them this time: other images that the lock has are on them as well."""
    asked = list[str]()

    async def read(spec: ImageSpec) -> Base:
        asked.append(str(spec.base and spec.base.digest))
        return Base(is_ready=True)

    def ready(spec: ImageSpec) -> dict[str, bool]:
        return dict(asyncio.run(ready_bases({"env": {AMD64: spec}}, known, read, ignore)))

    assert ready(made_of(Command(shell="true"))) == known
    assert ready(made_of(pip("six"))) == {str(BASE.digest): True, **known}
    assert asked == ([] if known else [BASE.digest])
