"""The files of a folder that are imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from flytebuild.authoring import python_files


def test_a_folder_of_very_many_folders_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python_files, "MANY", 3)
    told: list[Path] = []
    for name in "abc":
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.py").write_text("import flyte\n")
        found = list(python_files.python_files(tmp_path, lambda _: None, told.append))
        assert len(found) == len(list(tmp_path.iterdir()))
    assert told == [tmp_path]


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("import flyte\n", True),
        ("from flyte.extras import Container\n", True),
        ("import os, flyte\n", True),
        ("import numpy.linalg as la, os,\tflyte as f\n", True),
        ("import os; import flyte\n", True),
        ("if True: from flyte import Image\n", True),
        ("try:\n    import flyte\nexcept ImportError:\n    pass\n", True),
        ("import os, flytekit\n", False),
        ("import os\nflyte = None\n", False),
        ("# import flyte\nimport os  # later; import flyte\n", False),
        ("text = 'first: import flyte'\n", False),
    ],
)
def test_only_what_imports_flyte_is_looked_at(tmp_path: Path, text: str, is_found: bool) -> None:
    (tmp_path / "main.py").write_text(text)
    found = list(python_files.python_files(tmp_path, lambda _: None))
    assert found == [tmp_path / "main.py"] * is_found
