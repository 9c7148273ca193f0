"""What is merged instead of copied: which layers, and what has to be known for it."""

from __future__ import annotations

import pytest

from flytebuild.llb.outline import Place
from flytebuild.llb.tail import place_of, tail_of
from flytebuild.spec.layers import Command, Copy, Folder, LayerSpec, PipPackages, Venv
from flytebuild.spec.tree import Tree, assemble, folder_entry, link_entry
from tests.samples import file_entry

VENV = Venv("3.11", "/opt/venv")
PIP = PipPackages(("six",))
RUN = Command("true")
FOLDER = Folder("/app")


def tree(*paths: str, links: dict[str, str] | None = None) -> Tree:
    """Files by their paths, folders by paths that end in a slash."""
    entries = [folder_entry(path[:-1]) if path.endswith("/") else file_entry(path, "0" * 64, 1) for path in paths]
    return assemble([*entries, *(link_entry(path, target) for path, target in (links or {}).items())])


ALL = {"usr", "usr/share", "usr/share/x", "srv", "srv/a", "opt", "opt/tool", "opt/tool/bin"}
FILES = Copy(tree("main.py", "package/module.py"), "/app")
INSIDE = Copy(tree("main.py", "package/module.py", links={"a": "main.py", "package/b": "../a", "c": "package"}), "/app")
OUTSIDE = Copy(tree("main.py", links={"data": "/data"}), "/app")


@pytest.mark.parametrize(
    ("layers", "start"),
    [
        ([VENV, PIP], 2),
        ([VENV, PIP, FILES], 2),
        ([VENV, FILES, PIP], 3),
        ([VENV, FILES, RUN, FILES, FOLDER, FILES], 3),
        ([VENV, PIP, FOLDER, FILES, FOLDER], 3),
        ([VENV, PIP, FOLDER], 3),
        ([VENV, FILES], 1),
        ([FILES], 1),
        ([VENV, INSIDE, FOLDER], 1),
        ([VENV, OUTSIDE], 1),
        ([VENV, OUTSIDE, FOLDER], 3),
        ([VENV, FILES, OUTSIDE, FOLDER, FILES], 4),
    ],
    ids=[
        "no files",
        "files",
        "files that a step sees",
        "some of them",
        "folders before the files are not of the files'",
        "folders alone",
        "right after the virtual environment",
        "no virtual environment",
        "links within the files, and more",
        "links to elsewhere",
        "links to elsewhere, and more",
        "links to elsewhere in the middle",
    ],
)
def test_where_files_begin_that_no_step_sees(layers: list[LayerSpec], start: int) -> None:
    assert tail_of(layers) == start


@pytest.mark.parametrize(
    "target", ["/etc", "..", "../x", "none", "package/../main.py", "package/", "./main.py", "package/../../x"]
)
def test_links_that_lead_out_or_might(target: str) -> None:
    copied = Copy(tree("main.py", "package/module.py", links={"link": target}), "/app")
    assert tail_of([VENV, copied, FOLDER]) == 3


def test_most_changes_of_a_tree_ask_for_nothing_else() -> None:
    assert place_of(FILES) == Place("/app", searched=frozenset({"package"}))
    more = tree("main.py", "other.py", "package/new/module.py", "package/x.py")
    assert place_of(Copy(more, "/app")) == place_of(FILES)
    assert place_of(Copy(tree("one"), "/app/one", into=False)) == Place("/app/one")
    assert place_of(FOLDER) == Place("/app")


@pytest.mark.parametrize(
    ("destination", "listed", "searched"),
    [
        ("/", {"usr", "usr/share", "usr/share/x", "opt"}, {"srv", "opt/tool"}),
        ("/usr", ALL, set()),
        ("/opt", set(), {"usr", "srv", "opt"}),
        ("/opt/venv", ALL, set()),
        ("/opt/venv2", set(), {"usr", "srv", "opt"}),
    ],
)
def test_folders_that_hold_a_good_part_of_an_image_are_not_searched(
    destination: str, listed: set[str], searched: set[str]
) -> None:
    copied = Copy(tree("usr/share/x/file", "srv/a/file", "opt/tool/bin/file"), destination)
    assert place_of(copied) == Place(destination, frozenset(listed), frozenset(searched))
