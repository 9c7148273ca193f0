"""The protocol of a transfer, played without a daemon."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from flytebuild.buildkit._pb import filesync_pb2 as pb
from flytebuild.buildkit.session.files import Files, refuse_unsendable
from flytebuild.errors import DefinitionError

GO_FOLDER, GO_LINK = 1 << 31, 1 << 27


@dataclass(frozen=True)
class Entry:
    path: str
    kind: Literal["file", "executable", "link", "dir"] = "file"
    size: int = 0
    target: str = ""
    digest: str = blake3().hexdigest()


@dataclass(frozen=True)
class Tree:
    root: Path
    entries: tuple[Entry, ...]
    moved: Mapping[str, Path] = field(default_factory=dict)


def holding(path: str, content: bytes) -> Entry:
    return Entry(path, size=len(content), digest=blake3(content).hexdigest())


def asking(*numbers: int) -> Iterator[bytes]:
    for number in numbers:
        yield pb.Packet(type=pb.REQ, id=number).SerializeToString()
    yield pb.Packet(type=pb.FIN).SerializeToString()


def sent(tree: Tree, requests: Iterator[bytes], *metadata: tuple[str, str]) -> list[pb.Packet]:
    asked: dict[str, list[str]] = {"dir-name": ["t"]}
    for key, value in metadata:
        asked.setdefault(key, []).append(value)
    return [pb.Packet.FromString(raw) for raw in Files({"t": tree}).exchange(requests, asked)]


def listed(tree: Tree, *metadata: tuple[str, str]) -> list[str]:
    packets = sent(tree, asking(), *metadata)
    assert [packet.type for packet in packets[-2:]] == [pb.STAT, pb.FIN]
    assert not packets[-2].HasField("stat")
    return [packet.stat.path for packet in packets[:-2]]


NAMES = st.text(st.sampled_from("ab-./0é"), min_size=1, max_size=3).filter(
    lambda name: "/" not in name and name not in (".", "..")
)


@given(st.sets(st.lists(NAMES, min_size=1, max_size=4).map("/".join), max_size=12))
def test_folders_come_right_before_what_is_in_them_and_names_in_the_order_of_their_bytes(paths: set[str]) -> None:
    files = {path for path in paths if not any(other.startswith(f"{path}/") for other in paths)}
    order = listed(Tree(Path("/nowhere"), tuple(Entry(path) for path in files)))
    assert files <= set(order)
    assert len(set(order)) == len(order)

    def walk(folder: str) -> Iterator[str]:
        """The same tree, as a walk over it sees it."""
        names = {path[len(folder) :].partition("/")[0] for path in files if path.startswith(folder)}
        for name in sorted(names, key=str.encode):
            yield folder + name
            if folder + name not in files:
                yield from walk(f"{folder}{name}/")

    assert order == list(walk(""))


def test_metadata_is_what_the_digest_covers(tmp_path: Path) -> None:
    tree = Tree(
        tmp_path,
        (
            Entry("d", "dir"),
            Entry("d/link", "link", target="../é"),
            Entry("d/x", "executable", 3, digest="ab" * 32),
            Entry("f", "file", 3, digest="cd" * 32),
        ),
    )
    stats = [packet.stat for packet in sent(tree, asking())[:-2]]
    assert [(item.path, item.mode, item.size, item.linkname) for item in stats] == [
        ("d", 0o755 | GO_FOLDER, 0, ""),
        ("d/link", 0o777 | GO_LINK, 5, "../é"),
        ("d/x", 0o755, 3, ""),
        ("f", 0o644, 3, ""),
    ]
    assert {(item.uid, item.gid) for item in stats} == {(0, 0)}
    seconds = [item.mod_time / 1e9 for item in stats]
    assert all(1e9 <= second < 1.6e9 for second in seconds)
    assert len({item.mod_time for item in stats}) == 3
    assert [packet.stat for packet in sent(tree, asking())[:-2]] == stats


def test_content_in_pieces_and_its_end(tmp_path: Path) -> None:
    content = os.urandom((2 << 20) + 5)
    (tmp_path / "large").write_bytes(content)
    (tmp_path / "empty").touch()
    tree = Tree(tmp_path, (holding("empty", b""), holding("large", content)))
    data = [packet for packet in sent(tree, asking(1, 0)) if packet.type == pb.DATA]
    large = [packet.data for packet in data if packet.id == 1]
    assert b"".join(large) == content
    assert max(map(len, large)) <= 1 << 20
    assert [packet.data for packet in data if packet.id == 0] == [b""]
    assert large[-1] == b""


def test_a_file_that_is_not_what_was_hashed_ends_the_transfer_before_its_end_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"new")
    tree = Tree(tmp_path, (holding("a", b"old"), holding("b", b"")))
    packets = sent(tree, asking(0, 1))
    assert (packets[-1].type, packets[-1].data) == (pb.ERR, b"`a` changed while the image was built")
    assert not [packet for packet in packets if packet.type == pb.DATA and not packet.data]


def test_a_file_that_grows_is_not_read_for_ever(tmp_path: Path) -> None:
    tree = Tree(Path("/dev"), (Entry("zero", size=5),))
    assert sent(tree, asking(0))[-1].data == b"`zero` changed while the image was built"
    with (tmp_path / "log").open("wb") as file:
        file.truncate(1 << 40)
    tree = Tree(tmp_path, (holding("log", b"short"),))
    assert sent(tree, asking(0))[-1].data == b"`log` changed while the image was built"


def test_a_part_of_a_tree_has_the_folders_above_it_and_numbers_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "d/e/f.py").write_bytes(b"f")
    entries = (Entry("a"), Entry("d", "dir"), Entry("d/e", "dir"), holding("d/e/f.py", b"f"), Entry("d/g.txt"))
    tree = Tree(tmp_path, entries)
    include = ("include-patterns", "d/**/*.py")
    assert listed(tree, include) == ["d", "d/e", "d/e/f.py"]
    (data, _) = [packet for packet in sent(tree, asking(2), include) if packet.type == pb.DATA]
    assert data.data == b"f"
    assert listed(tree, ("exclude-patterns", "d/e"), ("exclude-patterns", "a")) == ["d", "d/g.txt"]
    assert listed(tree, ("followpaths", "a")) == ["a", "d", "d/e", "d/e/f.py", "d/g.txt"]


def test_patterns_that_are_not_ascii_come_encoded(tmp_path: Path) -> None:
    tree = Tree(tmp_path, (Entry("ü 1"), Entry("a+b")))
    encoded = (("exclude-patterns", "%C3%BC+1"), ("exclude-patterns-encoded", "1"))
    assert listed(tree, *encoded) == ["a+b"]
    assert listed(tree, ("exclude-patterns", "a+b")) == ["ü 1"]


def test_a_name_that_nobody_serves() -> None:
    (packet,) = map(pb.Packet.FromString, Files({}).exchange(asking(), {"dir-name": ["other"]}))
    assert (packet.type, packet.data) == (pb.ERR, b"this build has no files called `other`")


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        (Entry(os.fsdecode(b"caf\xe9")), r"The name of `caf\xe9` in `/src` is not UTF-8"),
        (Entry("link", "link", target=os.fsdecode(b"\xff")), r"The target of the link `link` in `/src` is not UTF-8"),
    ],
    ids=["name", "target"],
)
def test_what_is_no_text_is_refused_by_its_name(entry: Entry, sentence: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        refuse_unsendable(Tree(Path("/src"), (Entry("fine"), entry)))
    assert sentence in caught.value.message
    assert caught.value.hint
