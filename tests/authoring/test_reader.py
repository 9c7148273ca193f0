"""What one plan reads: each thing once, what may surprise told once, nothing that flytebuild writes itself."""

from pathlib import Path

import pytest

from flytebuild.authoring.images import Reader
from flytebuild.errors import UnsupportedImageError
from flytebuild.events import Event, Notice
from flytebuild.spec.model import ImageDefinition
from tests.authoring.meaning import extendable


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "src/home/runs").mkdir(parents=True)
    (tmp_path / "src/home/runs/1").write_text("1")
    (tmp_path / "src/f").write_text("1")
    return tmp_path / "src"


def test_a_folder_is_read_once_in_a_plan_and_anew_in_the_next(source: Path) -> None:
    reader = Reader()
    image = extendable().with_source_folder(source)
    before = reader.define(image, "one")
    (source / "f").write_text("2")
    assert reader.define(image.with_env_vars({}), "two").parts[0] == before.parts[0]  # type: ignore[union-attr]
    assert Reader().define(image, "one") != before


def test_every_image_knows_where_its_files_lie(source: Path) -> None:
    reader = Reader()
    for _ in range(2):
        found = reader.define(extendable().with_source_folder(source), "env")
        assert isinstance(found, ImageDefinition)
        assert found.roots[found.parts[0].part.tree.digest].root == str(source)  # type: ignore[union-attr]


def test_equal_layers_keep_places_of_their_own() -> None:
    """Parts are shared, the lines that they were written in are not."""
    one, other = (extendable().with_pip_packages("a") for _ in range(2))
    object.__setattr__(one._layers[0], "_flytebuild_origin", "one.py:1")
    object.__setattr__(other._layers[0], "_flytebuild_origin", "other.py:2")
    reader = Reader()
    found = [reader.define(image, "env").parts[0] for image in (one, other)]  # type: ignore[union-attr]
    assert [placed.origin for placed in found] == ["one.py:1", "other.py:2"]
    assert found[0].part is found[1].part


def test_a_layer_of_each_image_is_read_by_that_image_s_patterns_and_python(tmp_path: Path, source: Path) -> None:
    (tmp_path / "ignore").write_text("f\n")
    image = extendable().with_source_folder(source)
    reader = Reader()
    found = [reader.define(item, "env") for item in (image, image.with_dockerignore(tmp_path / "ignore"))]
    trees = [[entry.path for entry in item.parts[0].part.tree.entries] for item in found]  # type: ignore[union-attr]
    assert ["f" in tree for tree in trees] == [True, False]


@pytest.mark.parametrize("patterns", ["home\n", "**/home\n", "*\n!f\n"])
def test_folders_that_flytebuild_writes_to_may_be_left_out(tmp_path: Path, source: Path, patterns: str) -> None:
    reader = Reader(outputs=(source / "home", tmp_path / "elsewhere"))
    image = extendable().with_source_folder(source)
    with pytest.raises(UnsupportedImageError, match=r"holds `.*home`, which flytebuild itself writes"):
        reader.define(image, "env")
    (tmp_path / "ignore").write_text(patterns)
    reader.define(image.with_dockerignore(tmp_path / "ignore"), "env")


@pytest.mark.parametrize("output", [".", "not-there-yet", "home/runs"])
def test_they_need_not_be_there_yet(source: Path, output: str) -> None:
    with pytest.raises(UnsupportedImageError, match="flytebuild itself writes"):
        Reader(outputs=(source / output,)).define(extendable().with_source_folder(source), "env")
    Reader(outputs=(source.with_name("src2"), source.parent)).define(extendable().with_source_folder(source), "env")


def test_a_link_to_them_is_seen_through(tmp_path: Path, source: Path) -> None:
    (tmp_path / "link").symlink_to(source)
    with pytest.raises(UnsupportedImageError, match="flytebuild itself writes"):
        Reader(outputs=(source / "home",)).define(extendable().with_source_folder(tmp_path / "link"), "env")


def test_what_may_surprise_is_told_once_also_where_the_image_is_refused(source: Path) -> None:
    (source / "gone").symlink_to("nowhere")
    told: list[Event] = []
    reader = Reader(emit=told.append)
    image = extendable().with_source_folder(source)
    with pytest.raises(UnsupportedImageError):
        reader.define(image.with_pip_packages("a b c"), "env")
    reader.define(image, "env")
    assert [type(event) for event in told] == [Notice]
    assert "the link `gone` leads to `nowhere`" in str(told[0])


def test_a_uv_project_without_a_lock_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "p"\nversion = "0"\n')
    told: list[Event] = []
    reader = Reader(emit=told.append)
    image = extendable().with_uv_project(tmp_path / "pyproject.toml")
    for more in (image, image.with_uv_project(tmp_path / "pyproject.toml", pre=True)):
        reader.define(more, "env")
    (event,) = told
    assert isinstance(event, Notice)
    assert event.message.startswith(f"`{tmp_path}/pyproject.toml` has no `uv.lock`")
    (tmp_path / "uv.lock").write_text('version = 1\n[[package]]\nname = "p"\nversion = "0"\n')
    Reader(emit=told.append).define(extendable().with_uv_project(tmp_path / "pyproject.toml"), "env")
    assert len(told) == 1
