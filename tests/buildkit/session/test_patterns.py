"""Which paths BuildKit asks for with its patterns."""

import pytest

from flytebuild.buildkit.session.patterns import Patterns

PATHS = ["a.py", "b.txt", "d", "d/a.py", "d/b.txt", "d/e", "d/e/a.py", "d/e/a.pyc", "x[1]"]


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        ([], PATHS),
        (["*.py"], ["b.txt", "d", "d/a.py", "d/b.txt", "d/e", "d/e/a.py", "d/e/a.pyc", "x[1]"]),
        (["**/*.py"], ["b.txt", "d", "d/b.txt", "d/e", "d/e/a.pyc", "x[1]"]),
        (["d"], ["a.py", "b.txt", "x[1]"]),
        (["/d/", "!d/e/*.py"], ["a.py", "b.txt", "d/e/a.py", "x[1]"]),
        (["!d", "d"], ["a.py", "b.txt", "x[1]"]),
        (["d/**"], ["a.py", "b.txt", "d", "x[1]"]),
        (["d/?"], ["a.py", "b.txt", "d", "d/a.py", "d/b.txt", "x[1]"]),
        (["**/[a-c].txt"], ["a.py", "d", "d/a.py", "d/e", "d/e/a.py", "d/e/a.pyc", "x[1]"]),
        (["**/[^b].*"], ["b.txt", "d", "d/b.txt", "d/e", "x[1]"]),
        ([r"x\[1\]"], PATHS[:-1]),
        (["./d/../b.txt", "", "!", "."], ["a.py", "d", "d/a.py", "d/b.txt", "d/e", "d/e/a.py", "d/e/a.pyc", "x[1]"]),
        (["a"], PATHS),
    ],
)
def test_what_is_excluded(exclude: list[str], left: list[str]) -> None:
    assert list(Patterns(exclude=exclude).select(PATHS)) == left


@pytest.mark.parametrize(
    ("include", "found"),
    [(["d/e"], ["d/e", "d/e/a.py", "d/e/a.pyc"]), (["*.py", "d/b.txt"], ["a.py", "d/b.txt"]), (["nothing"], [])],
)
def test_what_is_included(include: list[str], found: list[str]) -> None:
    assert list(Patterns(include=include).select(PATHS)) == found


def test_both() -> None:
    assert list(Patterns(["d"], ["**/*.py"]).select(PATHS)) == ["d", "d/b.txt", "d/e", "d/e/a.pyc"]
