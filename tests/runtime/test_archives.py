"""Archives that are written and read piece by piece."""

from __future__ import annotations

import io
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from flytebuild.runtime.archives import PIECE, Distant, Entry, pieces, reading


def test_what_was_written_is_read(tmp_path: Path) -> None:
    long = "a" * 150 + "/" + "b" * 150
    (tmp_path / "file").write_bytes(b"x" * 1000)
    entries = [
        Entry("folder", None, 0o777),
        Entry("folder/text", b"hello", 0o644),
        Entry("folder/empty", b"", 0o600),
        Entry(long, tmp_path / "file", 0o666),
        Entry("distant", Distant(7, lambda: iter((b"abc", b"defg"))), 0o644),
    ]
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces(entries)))) as archive:
        found = {member.name: (member.isdir(), member.mode, member.size) for member in archive}
    assert found == {
        "folder": (True, 0o777, 0),
        "folder/text": (False, 0o644, 5),
        "folder/empty": (False, 0o600, 0),
        long: (False, 0o666, 1000),
        "distant": (False, 0o644, 7),
    }


@pytest.mark.parametrize("content", [b"short", b"much too long"])
def test_what_is_not_as_large_as_it_was_said_to_be(content: bytes) -> None:
    with pytest.raises(OSError, match="`distant` changed its size"):
        list(pieces([Entry("distant", Distant(7, lambda: iter((content,))), 0o644)]))


def test_chunks_of_any_size_are_one_archive() -> None:
    whole = b"".join(pieces([Entry("one", b"1" * 700, 0o644), Entry("two", b"2", 0o644)]))
    chunks = iter([b"", *(whole[start : start + 333] for start in range(0, len(whole), 333))])
    with reading(chunks) as archive:
        read = {}
        while (member := archive.next()) is not None:
            file = archive.extractfile(member)
            assert file is not None
            read[member.name] = file.read()
    assert read == {"one": b"1" * 700, "two": b"2"}


def test_a_large_file_is_never_held(tmp_path: Path) -> None:
    size = 64 * PIECE
    with (tmp_path / "large").open("wb") as file:
        file.truncate(size)
    tracemalloc.start()
    try:
        with reading(pieces([Entry("large", tmp_path / "large", 0o644)])) as archive:
            member = archive.next()
            assert member is not None
            content = archive.extractfile(member)
            assert content is not None
            read = 0
            while piece := content.read(PIECE):
                read += len(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert read == size
    assert peak < 8 * PIECE


def test_what_is_no_archive() -> None:
    with pytest.raises(tarfile.TarError):
        reading(iter([b"no archive at all" * 100]))
