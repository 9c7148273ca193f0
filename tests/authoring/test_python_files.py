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
