"""What a tree may surprise with."""

from pathlib import Path

import pytest

from flytebuild.spec.tree import assemble, folder_entry, link_entry
from flytebuild.trees.ignore import Ignore
from flytebuild.trees.scan import scan
from flytebuild.trees.warnings import warnings
from tests.samples import file_entry

OUTSIDE = "which is outside of the folder"
MISSING = "which is not there or left out"


@pytest.mark.parametrize(
    ("path", "target", "problem"),
    [
        ("l", "a", ""),
        ("l", "d/b", ""),
        ("l", "./d//../a", ""),
        ("l", ".", ""),
        ("d/l", "..", ""),
        ("d/l", "../a", ""),
        ("d/l", "b", ""),
        ("l", "to-d/b", ""),
        ("l", "to-d/../a", ""),
        ("l", "nothing", MISSING),
        ("d/l", "a", MISSING),
        ("l", "a/b", MISSING),
        ("l", "..", OUTSIDE),
        ("d/l", "../../d/b", OUTSIDE),
        ("l", "/etc/passwd", OUTSIDE),
        ("l", "to-outside/x", OUTSIDE),
        ("l", "l", "which never ends"),
        ("l", "to-l/x", "which never ends"),
    ],
)
def test_links(path: str, target: str, problem: str) -> None:
    digest = "0" * 64
    others = [file_entry("a", digest, 0), file_entry("d/b", digest, 0), link_entry("to-d", "d")]
    others += [link_entry("to-outside", "/srv"), link_entry("to-l", "l")]
    found = {warning.path: warning.message for warning in warnings(assemble([*others, link_entry(path, target)]))}
    assert found.get(path, "") == (problem and f"the link `{path}` leads to `{target}`, {problem}")


def test_names_that_only_look_different() -> None:
    names = ["é", "e\u0301", "é", "K", "\u212a", "z\u0301", "ź"]
    found = warnings(assemble([folder_entry(f"d/{name}") for name in names] + [folder_entry("e\u0301")]))
    assert [warning.path for warning in found] == ["d/é", "d/ź", "d/\u212a"]
    assert all("same name" in warning.message for warning in found)


def test_a_scan_brings_them(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"")
    (tmp_path / "link").symlink_to("data")
    assert scan(tmp_path, Ignore.none(), None).warnings == ()
    (warning,) = scan(tmp_path, Ignore.parse("data", "x"), None).warnings
    assert warning.path == "link"


@pytest.mark.parametrize("place", [".git", "sub/.git"])
def test_a_repository_s_history(tmp_path: Path, place: str) -> None:
    (tmp_path / place).mkdir(parents=True)
    (tmp_path / place / "HEAD").touch()
    (tmp_path / "x.git").mkdir()
    (found,) = scan(tmp_path, Ignore.none(), None).warnings
    assert found.path == place
    assert f"`{place}` is copied as well, and changes with every commit; a line `**/.git` in the" in found.message
    assert scan(tmp_path, Ignore.parse("**/.git", "ignore"), None).warnings == ()
