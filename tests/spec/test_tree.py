"""Trees as values: golden digests, what moves them, and what cannot be a tree."""

import random
from collections.abc import Callable

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from flytebuild.spec.tree import (
    Entry,
    Tree,
    assemble,
    decode_name,
    encode_name,
    folder_entry,
    link_entry,
)
from tests.samples import file_entry

EMPTY_FILE = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
EMPTY_FOLDER = "d740b0f99a75b01d4fca2d42d92aa882cb76317c494a70b3df54a49ba420f74c"

NAMES = (
    st.binary(min_size=1, max_size=4).filter(lambda raw: raw not in (b".", b"..") and not set(raw) & {0, 47})
    | st.sampled_from([b"a", b"b", b"ab", b"a-b", b"a b", b"\xc3\xa9", b"\xff", b"\xf0\x9f\x9a\x80", b"\n"])
).map(decode_name)
CONTENTS = st.sampled_from([b"", b"a", b"b", b"ab"])


def plain(path: str, content: bytes = b"", *, executable: bool = False) -> Entry:
    return file_entry(path, blake3(content).hexdigest(), len(content), executable=executable)


LEAVES: list[Callable[[str], st.SearchStrategy[Entry]]] = [
    lambda path: st.builds(lambda content, flag: plain(path, content, executable=flag), CONTENTS, st.booleans()),
    lambda path: NAMES.map(lambda target: link_entry(path, target)),
    lambda path: st.just(folder_entry(path)),
]


@st.composite
def entry_lists(draw: st.DrawFn, prefix: str = "", depth: int = 2) -> list[Entry]:
    found: list[Entry] = []
    for name in draw(st.sets(NAMES, max_size=3)):
        path = prefix + name
        inside = draw(entry_lists(prefix=path + "/", depth=depth - 1)) if depth and draw(st.booleans()) else []
        found += inside or [draw(draw(st.sampled_from(LEAVES))(path))]
    return found


def test_golden_digests() -> None:
    assert assemble([]).digest == EMPTY_FOLDER
    assert link_entry("l", "t").digest == "7e6bfc3701c562bec65cb62796d5ad7bb5b49665192bc32e53789108a1868aa3"
    tree = assemble([plain("a", b"hi\n"), plain("r", executable=True), link_entry("l", "a")])
    assert tree.digest == "4fed6d17794015d3cab0a4fa5fd6810df209f726562e654c7e9c4bebadb59a64"
    assert tree.by_path["r"].digest == EMPTY_FILE


def test_an_independent_implementation_agrees() -> None:
    def node(*children: bytes) -> bytes:
        framed = len(children).to_bytes(8, "big") + b"".join(children)
        return blake3(framed, derive_key_context="flytebuild 2026-11-22 dir v1").digest()

    def child(kind: bytes, name: bytes, digest: bytes) -> bytes:
        return kind + len(name).to_bytes(4, "big") + name + digest

    link = blake3(b"\xfe", derive_key_context="flytebuild 2026-11-22 link v1").digest()
    inner = node(child(b"d", b"empty", node()), child(b"l", b"l\xff", link))
    # The bytes of the first name sort before those of the second; its code points do not.
    expected = node(child(b"d", b"d\x80", inner), child(b"x", b"d\xef\xbf\xbd", blake3(b"#!").digest()))
    tree = assemble(
        [
            plain("d\ufffd", b"#!", executable=True),
            link_entry("d\udc80/l\udcff", "\udcfe"),
            folder_entry("d\udc80/empty"),
        ]
    )
    assert tree.digest == expected.hex()


@given(st.binary())
def test_names_survive_whatever_their_bytes(raw: bytes) -> None:
    assert encode_name(decode_name(raw)) == raw


@given(entry_lists(), st.randoms(use_true_random=False))
def test_order_does_not_matter(entries: list[Entry], shuffler: random.Random) -> None:
    tree = assemble(entries)
    shuffler.shuffle(entries)
    assert assemble(entries) == tree
    assert assemble(tree.entries) == tree


@given(entry_lists(), entry_lists())
def test_equal_digests_mean_equal_trees(one: list[Entry], other: list[Entry]) -> None:
    first, second = assemble(one), assemble(other)
    same = first.digest == second.digest
    assert (first.entries == second.entries) == same


@given(entry_lists())
def test_entries_are_in_the_order_of_a_walk(entries: list[Entry]) -> None:
    paths = [entry.raw_path.split(b"/") for entry in assemble(entries).entries]
    assert paths == sorted(paths)


@given(entry_lists())
def test_a_folder_is_the_same_tree_anywhere(entries: list[Entry]) -> None:
    tree = assemble(entries)
    moved = assemble([Entry(f"x/{item.path}", item.kind, item.digest, item.size, item.target) for item in tree.entries])
    if tree.entries:
        assert moved.by_path["x"].digest == tree.digest
        assert moved.entries[1:] == tuple(replace(item, path=f"x/{item.path}") for item in tree.entries)


def test_what_reaches_an_image_moves_the_digest() -> None:
    trees = [
        assemble([]),
        assemble([folder_entry("a")]),
        assemble([plain("a")]),
        assemble([plain("a", executable=True)]),
        assemble([plain("b")]),
        assemble([plain("a", b"1")]),
        assemble([link_entry("a", "")]),
        assemble([link_entry("a", "b")]),
        assemble([plain("a/b")]),
        assemble([plain("a/b"), folder_entry("a/c")]),
        assemble([plain("a/bc")]),
        assemble([plain("ab/c")]),
    ]
    assert len({tree.digest for tree in trees}) == len(trees)


def test_modes_and_sizes_are_those_of_the_image() -> None:
    tree = assemble([plain("f", b"123"), plain("x", b"45", executable=True), folder_entry("d"), link_entry("l", "f")])
    assert {entry.path: oct(entry.mode) for entry in tree.entries} == {
        "d": "0o755",
        "f": "0o644",
        "l": "0o777",
        "x": "0o755",
    }
    assert tree.size == 5


def test_depth_is_not_limited() -> None:
    deep = "/".join("d" * 3000)
    tree = assemble([plain(deep)])
    assert tree.entries[-1].path == deep
    assert len(tree.entries) == 3000


@pytest.mark.parametrize("path", ["", "/", "/a", "a/", "a//b", ".", "..", "a/..", "./a", "a/../b", "a\0b", "a\0/b"])
def test_paths_that_are_not_within_a_tree(path: str) -> None:
    for entry in (plain(path), folder_entry(path), link_entry(path, "x")):
        with pytest.raises(ValueError, match="not a path"):
            assemble([entry])


@pytest.mark.parametrize(
    "entries",
    [
        [plain("a"), plain("a")],
        [plain("a"), link_entry("a", "b")],
        [plain("a"), folder_entry("a")],
        [folder_entry("a"), plain("a")],
        [plain("a"), plain("a/b")],
        [plain("a/b/c"), plain("a/b")],
    ],
)
def test_one_path_is_one_entry(entries: list[Entry]) -> None:
    with pytest.raises(ValueError, match="twice"):
        assemble(entries)


def test_equal_trees_are_one_key() -> None:
    assert {assemble([plain("a")]), assemble([plain("a")]), assemble([plain("b")])} == {
        assemble([plain("a")]),
        assemble([plain("b")]),
    }


def test_the_empty_tree_has_nothing() -> None:
    assert assemble([]) == Tree((), EMPTY_FOLDER)
