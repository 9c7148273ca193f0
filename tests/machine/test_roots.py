"""What happens to files before they become layers."""

from __future__ import annotations

import os
import py_compile
from pathlib import Path

from scripts.machine.processes import Children
from scripts.machine.roots import CREATED, date_bytecode, read_layer


def compiled_module(folder: Path, name: str, modified: int) -> Path:
    source = folder / f"{name}.py"
    source.write_text("answer = 42\n")
    os.utime(source, (modified, modified))
    return Path(py_compile.compile(str(source), doraise=True))


def test_bytecode_names_the_time_that_its_source_will_have(tmp_path: Path) -> None:
    late = compiled_module(tmp_path, "late", CREATED + 5)
    early = compiled_module(tmp_path, "early", CREATED - 5)
    date_bytecode(tmp_path)
    assert [int.from_bytes(path.read_bytes()[8:12], "little") for path in (late, early)] == [CREATED, CREATED - 5]


def test_bytecode_without_its_source_goes(tmp_path: Path) -> None:
    gone, changed = (compiled_module(tmp_path, name, CREATED) for name in ("gone", "changed"))
    (tmp_path / "gone.py").unlink()
    (tmp_path / "changed.py").write_text("answer = 1234\n")
    date_bytecode(tmp_path)
    assert not gone.exists()
    assert not changed.exists()


def test_bytecode_that_is_checked_by_its_content_stays(tmp_path: Path) -> None:
    source = tmp_path / "one.py"
    source.write_text("answer = 42\n")
    compiled = Path(
        py_compile.compile(str(source), invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH, doraise=True)
    )
    before = compiled.read_bytes()
    date_bytecode(tmp_path)
    assert compiled.read_bytes() == before


def test_a_layer_does_not_depend_on_when_its_files_were_made(tmp_path: Path) -> None:
    def read(modified: int) -> bytes:
        (tmp_path / "root").mkdir(exist_ok=True)
        for name in ("b", "a"):
            (tmp_path / "root" / name).write_text(name)
            os.utime(tmp_path / "root" / name, (modified, modified))
        return b"".join(read_layer(tmp_path / "root", tmp_path / "log", Children(), ("a", "b", "none")))

    assert read(CREATED + 1) == read(CREATED + 2)
    assert read(CREATED - 1) != read(CREATED + 1)
