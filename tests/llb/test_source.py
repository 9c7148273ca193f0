"""Sources name what they hold, and nothing of the machine or the session."""

import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytebuild.buildkit._pb import ops_pb2
from flytebuild.llb.source import local, local_name
from flytebuild.spec.tree import Tree, assemble, folder_entry, link_entry
from tests.samples import file_entry

DIGEST = "ab" * 32
NAMES = [f"pkg{number % 7}/module_{number}.py" for number in range(300)]


def of(names: Iterable[str], digest: str = DIGEST) -> Tree:
    return assemble(file_entry(name, digest, 1) for name in names)


def source(tree: Tree) -> ops_pb2.SourceOp:
    return ops_pb2.Op.FromString(local(tree, name="src/").vertex.encoded).source


def test_a_tree_is_told_by_its_digest() -> None:
    one = local(of(NAMES), name="src/")
    other = local(of(reversed(NAMES)), name="the same files elsewhere")
    assert one.vertex.digest == other.vertex.digest
    assert one.vertex.digest != local(of(NAMES, "cd" * 32), name="src/").vertex.digest
    assert json.loads(source(of(NAMES)).attrs["local.followpaths"]) == [local_name(of(NAMES).digest)]


def test_an_edit_leaves_a_tree_its_name() -> None:
    names = {source(of(NAMES, digest)).identifier for digest in ("ab" * 32, "cd" * 32)}
    (name,) = names
    assert name.startswith("local://files-")
    made_executable = [file_entry(name, DIGEST, 1, executable=True) for name in NAMES]
    assert source(assemble(made_executable)).identifier == name
    with_folder = [*of(NAMES).entries, folder_entry("empty")]
    assert source(assemble(with_folder)).identifier == name


def test_few_files_that_come_or_go_change_it() -> None:
    name = source(of(NAMES)).identifier
    kept = [source(of(item for item in NAMES if item != gone)).identifier == name for gone in NAMES]
    assert kept.count(False) <= 2
    kept = [source(of([*NAMES, f"pkg1/new_{number}.py"])).identifier == name for number in range(300)]
    assert kept.count(False) <= 10


def test_parts_and_other_trees_have_other_names() -> None:
    trees = [of(NAMES), of(NAMES[:40]), of(f"lib/{name}" for name in NAMES), of(["a"]), of(["b"]), of([])]
    assert len({source(tree).identifier for tree in trees}) == len(trees)


@given(
    st.sets(
        st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=5), max_size=20
    )
)
def test_every_tree_has_a_name(names: set[str]) -> None:
    tree = assemble(link_entry(name, "x") for name in names - {".", ".."})
    assert source(tree).identifier.isascii()


def test_what_is_no_digest_is_refused() -> None:
    with pytest.raises(ValueError, match="too short"):
        local_name("abc")
