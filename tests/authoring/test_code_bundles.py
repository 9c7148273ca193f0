"""Code that images bring along where a run does not."""

import math
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


def test_a_bundle_of_loaded_modules_has_the_same_files_and_looks_at_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is installed is passed over, but for a link there that leads to the user's code."""
    source, installed = tmp_path / "source", tmp_path / "venv"
    for folder in (source, installed / "package"):
        folder.mkdir(parents=True)
    (source / "main.py").touch()
    (source / "linked.py").touch()
    (installed / "package" / "real.py").touch()
    (installed / "package" / "linked.py").symlink_to(source / "linked.py")
    (installed / "edited").symlink_to(source)
    files = {
        "main": source / "main.py",
        "real": installed / "package" / "real.py",
        "linked": installed / "package" / "linked.py",
        "edited": installed / "edited" / "main.py",
    }
    modules = []
    for name, file in files.items():
        modules.append(ModuleType(name))
        modules[-1].__file__ = str(file)
    modules += [ModuleType("builtin"), math]
    monkeypatch.setattr(_utils, "_build_invalid_directories", lambda: [str(installed)])
    plain = _utils.list_imported_modules_as_files(str(source), modules)

    seen: list[list[ModuleType]] = []
    look = _utils.list_imported_modules_as_files

    def noting(source_path: str, modules: list[ModuleType]) -> list[str]:
        seen.append(modules)
        return look(source_path, modules)

    monkeypatch.setattr(_utils, "list_imported_modules_as_files", noting)
    sdk.leave_installed_out_of_bundles()
    found = _utils.list_imported_modules_as_files(str(source), modules)
    assert sorted(found) == sorted(plain)
    assert {Path(file).name for file in found} == {"main.py", "linked.py"}
    assert "real" not in [module.__name__ for module in seen[0]]
    assert len(seen[0]) == len(modules) - 1


def test_a_module_that_is_not_loaded_yet_stays_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Lazy(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise AssertionError(f"asked for {name}")

    monkeypatch.setattr(_utils, "list_imported_modules_as_files", lambda _, modules: modules)
    sdk.leave_installed_out_of_bundles()
    lazy = Lazy("lazy")
    assert _utils.list_imported_modules_as_files(str(tmp_path), [lazy, flyte]) == [lazy]
