"""Random images: one change makes another image, another way of writing does not.

Fifty are drawn; `TEST_IMAGES=5000 pytest tests/authoring/test_random_images.py` draws more, `TEST_IMAGES_SEED` others.
"""

import random
import shutil
from pathlib import Path

import pytest

from tests.authoring.every_layer import FILES, write_files
from tests.authoring.meaning import meaning
from tests.authoring.random_images import changes, draw, rewritings, seeds


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The files that images are made of, with other ones of the same names in `other`, and a copy of all that."""
    folder = tmp_path_factory.mktemp("files")
    other = write_files(folder / "other", list(FILES))
    for name in FILES:
        with (other / name).open("a", encoding="utf-8") as file:
            file.write("# other\n")
    write_files(folder, list(FILES))
    shutil.copytree(other / "src", other, dirs_exist_ok=True, symlinks=True)
    (folder / "ignore-nothing").write_text("# nothing\nno-such-file\n")
    copy = tmp_path_factory.mktemp("copy") / "of files"
    shutil.copytree(folder, copy, symlinks=True)
    return folder, copy


@pytest.mark.parametrize("seed", seeds())
def test_one_change_makes_another_image_and_another_spelling_does_not(files: tuple[Path, Path], seed: int) -> None:
    folder, copy = files
    dice = random.Random(seed)
    drawn = draw(dice, folder)
    expected = meaning(drawn.image())
    for what, changed in changes(drawn, dice, folder):
        assert meaning(changed.image()) != expected, f"{what} is not in the digest of {drawn}"
    for what, rewritten in rewritings(drawn, dice, folder, copy):
        assert meaning(rewritten.image()) == expected, f"{what} moves the digest of {drawn}"
