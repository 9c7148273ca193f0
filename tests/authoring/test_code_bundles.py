"""Code that images bring along where a run does not."""

from pathlib import Path
from types import ModuleType

import flyte
import flyte._image
import pytest
from flyte._code_bundle import _utils

from flytebuild.authoring import sdk
from flytebuild.authoring.environments import Definitions
from flytebuild.authoring.images import define
from flytebuild.spec.layers import Copy
from flytebuild.spec.model import ImageDefinition

BASE = flyte.Image.from_base("r.example/base:1").clone(name="x", extendable=True)


@pytest.fixture(autouse=True)
def patched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flyte._image, "resolve_code_bundle_layer", flyte._image.resolve_code_bundle_layer)
    monkeypatch.setattr(sdk, "uses_our_builder", lambda: True)
    sdk.keep_resolved_bundles()


@pytest.mark.parametrize("style", ["loaded_modules", "all"])
def test_code_that_a_run_has_put_into_an_image_stays_there(tmp_path: Path, style: str) -> None:
    """The SDK's `_run` resolves by the run's style, and its `build_images` by the default one."""
    (tmp_path / "a.py").touch()
    image = BASE.with_code_bundle(copy_style=style)  # type: ignore[arg-type]
    for asked in ("none", "loaded_modules"):
        image = flyte._image.resolve_code_bundle_layer(image, asked, tmp_path)
    assert not sdk.open_bundles(image)
    found = define(image, "env")
    assert isinstance(found, ImageDefinition)
    assert [type(placed.part) for placed in found.parts] == [Copy]


def test_an_image_of_a_run_that_brings_its_code_has_none(tmp_path: Path) -> None:
    image = BASE.with_code_bundle()
    for asked in ("loaded_modules", "all"):
        found = flyte._image.resolve_code_bundle_layer(image, asked, tmp_path)
        assert found._layers == ()
    assert flyte._image.resolve_code_bundle_layer(BASE, "none", tmp_path) is BASE


def test_what_is_not_decided_yet_is_told() -> None:
    image = BASE.with_code_bundle()
    open_, none = (flyte.TaskEnvironment(name=name, image=item) for name, item in (("a-b", image), ("b-b", BASE)))
    (told,) = Definitions.collect([open_, none]).open_bundles(["a-b", "b-b"])
    assert told.startswith("`with_code_bundle` adds nothing to the image of environment `a-b` here: ")
    assert "`--copy-style none`" in told


def test_a_bundle_of_loaded_modules_passes_over_this_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[ModuleType] = []

    def look(source_path: str, modules: list[ModuleType]) -> list[str]:
        seen[:] = modules
        return []

    monkeypatch.setattr(_utils, "list_imported_modules_as_files", look)
    sdk.leave_us_out_of_bundles()
    assert sdk.loaded_modules(tmp_path) == []
    assert flyte in seen
    assert sdk not in seen
    # Its own developers may have tasks next to it.
    sdk.loaded_modules(Path(sdk.__file__).parents[2])
    assert sdk in seen
