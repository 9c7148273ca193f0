"""The script that compiles what a command installed, run as it is run in an image, on a virtual environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flytebuild.inside import bytecode

HASHED, UNHASHED = 1, 0


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The Python of an empty virtual environment."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    return tmp_path / "venv/bin/python"


@pytest.fixture
def packages(python: Path) -> Path:
    (found,) = python.parents[1].glob("lib/python*/site-packages")
    return found


def install(python: Path, *command: str) -> subprocess.CompletedProcess[str]:
    arguments = [python, "-I", bytecode.__file__, *command]
    return subprocess.run(arguments, capture_output=True, text=True, check=False)


def compiled(source: Path) -> Path:
    return source.parent / "__pycache__" / f"{source.stem}.{sys.implementation.cache_tag}.pyc"


def kind(source: Path) -> int:
    """The second word of a source's bytecode (PEP 552)."""
    return int.from_bytes(compiled(source).read_bytes()[4:8], "little")


def test_what_a_command_installs_is_compiled_by_content(python: Path, packages: Path) -> None:
    module = packages / "package/deep/module.py"
    done = install(python, "sh", "-c", f"mkdir -p {module.parent} && echo 'x = 1' >{module}; touch {packages}/top.py")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (kind(module), kind(packages / "top.py")) == (HASHED, HASHED)


def test_no_more_is_compiled_than_what_is_new(python: Path, packages: Path) -> None:
    hashed, timed = packages / "hashed.py", packages / "timed.py"
    hashed.write_text("x = 1\n")
    install(python, "true")
    timed.write_text("x = 1\n")
    subprocess.run([python, "-m", "py_compile", timed], check=True)
    before = {source: compiled(source).stat().st_mtime_ns for source in (hashed, timed)}
    # Its time is not what tells a source that bytecode is of.
    os.utime(hashed, (1, 1))
    install(python, "touch", str(packages / "new.py"))
    assert {source: compiled(source).stat().st_mtime_ns for source in (hashed, timed)} == before
    assert (kind(hashed), kind(timed), kind(packages / "new.py")) == (HASHED, UNHASHED, HASHED)


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 16], ids=["empty", "short", "of another Python"])
def test_bytecode_that_is_none_is_replaced(python: Path, packages: Path, content: bytes) -> None:
    source = packages / "module.py"
    source.write_text("x = 1\n")
    compiled(source).parent.mkdir()
    compiled(source).write_bytes(content)
    install(python, "true")
    assert kind(source) == HASHED


def test_what_replaces_a_source_is_compiled(python: Path, packages: Path) -> None:
    source = packages / "module.py"
    source.write_text("x = 1\n")
    os.utime(source, (1, 1))
    install(python, "true")
    install(python, "sh", "-c", f"echo 'x = 2' >{source}; touch -d @1 {source}")
    shown = subprocess.run([python, "-c", "import module; print(module.x)"], capture_output=True, text=True, check=True)
    assert shown.stdout == "2\n"


def test_what_is_no_python_is_left_alone(python: Path, packages: Path) -> None:
    (packages / "old.py").write_text("print 'as it was'\n")
    (packages / "raw.py").write_bytes(b"\xff\xfe\0")
    (packages / "fine.py").write_text("x = 1\n")
    done = install(python, "true")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert kind(packages / "fine.py") == HASHED
    assert not compiled(packages / "old.py").exists()


def test_many_files_are_compiled_by_several_processes(python: Path, packages: Path) -> None:
    sources = [packages / f"module{number}.py" for number in range(120)]
    for source in sources:
        source.write_text(f"x = {source.stem!r}\n")
    assert install(python, "true").returncode == 0
    assert {kind(source) for source in sources} == {HASHED}


@pytest.mark.parametrize(("script", "code"), [("echo said; exit 7", 7), ("kill -9 $$", 137)], ids=["code", "signal"])
def test_a_command_that_fails_is_all_that_happens(python: Path, packages: Path, script: str, code: int) -> None:
    (packages / "module.py").write_text("x = 1\n")
    assert install(python, "sh", "-c", script).returncode == code
    assert not compiled(packages / "module.py").exists()
