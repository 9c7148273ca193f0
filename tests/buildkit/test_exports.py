"""What the packages list is there, and nothing is imported before it is asked for."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import flytebuild.buildkit
import flytebuild.llb


def test_all_that_is_listed_is_there() -> None:
    for package in (flytebuild.buildkit, flytebuild.llb):
        for name in package.__all__:
            assert getattr(package, name).__name__ == name


def test_the_lists_are_one() -> None:
    tree = ast.parse(Path(flytebuild.buildkit.__file__).read_text())
    typed = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed - {"annotations", "TYPE_CHECKING"} == set(flytebuild.buildkit.__all__)


def test_graphs_are_made_without_grpc() -> None:
    command = "import sys, flytebuild.llb; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command]).returncode == 0
