"""A tree that BuildKit has from an earlier build: only what changed is sent, and the image is what was hashed."""

import hashlib
import json
import os
import secrets
import shutil
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from flytebuild.buildkit.solve import SolveError
from flytebuild.llb.run import BindMount
from tests.engine.solving import FoundTree, Solved, Solver, Transfer, hashed

pytestmark = pytest.mark.engine


@dataclass(frozen=True)
class Project:
    """A folder whose paths no other run has, built time and again by one user."""

    folder: Path
    keys: Path
    solver: Solver

    def write(self, name: str, text: str = "", mode: int = 0o644) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def build(self, *trees: FoundTree, **options: Any) -> Solved:
        """Build an image of each tree, the folder as it is now by default; look whether they are what was hashed."""
        trees = trees or (hashed(self.folder),)
        solved = Solved()
        for tree in trees:
            state = self.solver.listing(tree.copied(self.solver.platform))
            done = self.solver.solve(state, *trees, keys=self.keys, **options)
            assert {path: told(found) for path, found in json.loads(done.log).items()} == content(tree)
            solved.transfers += done.transfers
        return solved

    def sent(self) -> list[str]:
        """The files that a build of the folder sends."""
        (transfer,) = self.build().transfers
        return sorted(transfer.asked)


@pytest.fixture
def project(solver: Solver, tmp_path: Path) -> Project:
    made = Project(tmp_path / "src", tmp_path / "keys", solver)
    # Among few files, one that comes or goes may well give the tree another name. Not beside these two.
    marks = {name: zlib.crc32(name.encode()) for name in (f"{secrets.token_hex(4)}.py" for _ in range(50_000))}
    for name in (min(marks, key=marks.__getitem__), max(marks, key=marks.__getitem__)):
        made.write(name)
    for number in range(38):
        made.write(f"{number}/{secrets.token_hex(4)}.py", f"{number}")
    return made


def told(found: dict[str, Any]) -> tuple[str, bool, str, str]:
    return found["kind"], found["kind"] == "file" and found["mode"] == 0o755, found["target"], found["sha256"]


def content(tree: FoundTree) -> dict[str, tuple[str, bool, str, str]]:
    found = {}
    for entry in tree.entries:
        kind = "file" if entry.kind == "executable" else entry.kind
        sha256 = hashlib.sha256((tree.root / entry.path).read_bytes()).hexdigest() if kind == "file" else ""
        found[entry.path] = (kind, entry.kind == "executable", entry.target, sha256)
    return found


def test_one_file_of_twenty_thousand(project: Project) -> None:
    for folder in range(200):
        for number in range(100):
            project.write(f"{folder}/{number}.py", f"{folder} {number}")

    def sent() -> tuple[Transfer, str]:
        tree = hashed(project.folder)
        look = project.solver.shell("find /t | wc -l; cat /t/7/7.py", binds=(BindMount("/t", tree.state),))
        solved = project.solver.solve(look, tree, keys=project.keys)
        (transfer,) = solved.transfers
        return transfer, solved.log

    first, log = sent()
    assert (first.entries, len(first.asked)) == (20_240, 20_040)
    assert log == "20241\n7 7"
    project.write("7/7.py", "changed")
    second, log = sent()
    assert (second.entries, second.asked, second.content) == (20_240, ["7/7.py"], len("changed"))
    assert log == "20241\nchanged"


def test_an_edit_that_changes_neither_size_nor_time(project: Project) -> None:
    for text in ("one", "two", "one"):
        project.write("file", text)
        os.utime(project.folder / "file", (1_000_000_000, 1_000_000_000))
        assert "file" in project.sent()
    assert project.sent() == []


def test_whatever_becomes_of_a_tree(project: Project) -> None:
    project.build()

    project.write("mode", "x")
    project.write("gone", "x")
    project.write("file to folder", "x")
    project.write("folder to file/a", "x")
    project.write("folder to file/deep/b", "x")
    project.write("folder to link/a", "x")
    project.write("file to link", "x")
    os.symlink("x", project.folder / "link to file")
    os.symlink("x", project.folder / "link to folder")
    os.symlink("x", project.folder / "link")
    (project.folder / "hollow").mkdir()
    new = ["file to folder", "file to link", "folder to file/a", "folder to file/deep/b", "folder to link/a"]
    assert project.sent() == [*new, "gone", "mode"]

    (project.folder / "mode").chmod(0o755)
    for name in ("gone", "file to folder", "file to link", "link to file", "link to folder", "link"):
        (project.folder / name).unlink()
    for name in ("folder to file", "folder to link", "hollow"):
        shutil.rmtree(project.folder / name)
    project.write("file to folder/inner", "x")
    project.write("folder to file", "x")
    os.symlink("..", project.folder / "folder to link")
    os.symlink("x", project.folder / "file to link")
    project.write("link to file", "x")
    project.write("link to folder/inner", "x")
    os.symlink("y", project.folder / "link")
    new = ["file to folder/inner", "folder to file", "link to file", "link to folder/inner"]
    assert project.sent() == [*new, "mode"]

    # And back, to less than there was: what a folder once held is no part of it again.
    (project.folder / "mode").chmod(0o644)
    (project.folder / "folder to file").unlink()
    (project.folder / "folder to link").unlink()
    shutil.rmtree(project.folder / "file to folder")
    project.write("folder to file/deep/b", "x")
    (project.folder / "folder to link").mkdir()
    project.write("file to folder", "x")
    assert project.sent() == ["file to folder", "folder to file/deep/b", "mode"]
    assert project.sent() == []


def test_a_folder_that_moved_is_not_sent_again(project: Project, tmp_path: Path) -> None:
    project.build()
    project.folder.rename(tmp_path / "elsewhere")
    moved = replace(project, folder=tmp_path / "elsewhere")
    assert moved.sent() == []
    moved.write("new", "new")
    assert moved.sent() == ["new"]


def test_parts_of_one_folder_in_one_build(project: Project) -> None:
    """They have a name in common, and are told apart all the same."""
    for number in range(3):
        project.write("edited", f"{number}")
        whole = hashed(project.folder)
        part = replace(whole, entries=tuple(entry for entry in whole.entries if entry.path != "edited"))
        assert part.tree.kin == whole.tree.kin
        trees = (whole, part)
        binds = tuple(BindMount(f"/{number}", tree.state) for number, tree in enumerate(trees))
        solved = project.solver.solve(
            project.solver.shell("cat /0/edited; ls /1 | grep -c . ; test ! -e /1/edited", binds=binds),
            *trees,
            keys=project.keys,
        )
        assert solved.log.split() == [f"{number}40"]
        assert len(solved.transfers) == 2
        assert sum(len(transfer.asked) for transfer in solved.transfers) == (81 if number == 0 else 1)


def test_two_builds_of_one_folder_at_the_same_time(project: Project) -> None:
    """The second finds the base in use and starts from nothing; neither gets what is the other's."""
    project.write("file", "one")
    first = hashed(project.folder)
    complete, go_on = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(
            project.solver.solve,
            project.solver.shell("cat /t/file", binds=(BindMount("/t", first.state),)),
            first,
            keys=project.keys,
            waits=(complete, go_on),
        )
        try:
            assert complete.wait(60)
            project.write("file", "two")
            assert len(project.sent()) == 41
        finally:
            go_on.set()
        assert running.result(60).log == "one"
    project.write("file", "ten")
    assert project.sent() == ["file"]


def test_a_transfer_that_fails_is_no_base(project: Project) -> None:
    project.build()
    project.write("file", "before")
    project.write("other", "x")
    stale = hashed(project.folder)
    project.write("file", "after!")
    with pytest.raises(SolveError, match="`file` changed while the image was built"):
        project.solver.solve(stale.copied(project.solver.platform), stale, keys=project.keys)
    assert len(project.sent()) == 42


def test_users_have_no_base_in_common(project: Project, tmp_path: Path) -> None:
    project.build()
    assert project.sent() == []
    assert len(replace(project, keys=tmp_path / "another user").sent()) == 40


def test_a_tree_is_sent_once_for_all_images(project: Project) -> None:
    tree = hashed(project.folder)
    again = project.folder.with_name("again")
    shutil.copytree(project.folder, again)
    copied, other = tree.copied(project.solver.platform), hashed(again).copied(project.solver.platform)
    assert other.vertex.digest == copied.vertex.digest
    binds = (BindMount("/one", tree.state), BindMount("/two", copied), BindMount("/three", other))
    solved = project.solver.solve(project.solver.shell("ls /one /two /three", binds=binds), tree, keys=project.keys)
    assert len(solved.transfers) == 1
